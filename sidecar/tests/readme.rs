//! The README's table of settings is that of the code.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a failure is a panic with its place"
)]

use finality_sidecar::config::SETTINGS;

#[test]
fn the_readme_has_every_setting_with_its_default_and_no_other() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
    let readme = readme.unwrap();
    let (_, table) =
        readme.split_once("| setting | default | meaning |\n| --- | --- | --- |\n").unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    for (row, setting) in rows.iter().zip(SETTINGS) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, default, ..] = cells.as_slice() else { panic!("{row}") };
        assert_eq!(*name, format!("`{}`", setting.name), "the order is that of the code");
        match (setting.default, setting.required) {
            (Some(value), _) => assert_eq!(*default, format!("`{value}`"), "{name}"),
            (None, true) => assert_eq!(*default, "required", "{name}"),
            (None, false) => assert!(!default.starts_with('`') && *default != "required", "{name}"),
        }
    }
    assert_eq!(rows.len(), SETTINGS.len());
}
