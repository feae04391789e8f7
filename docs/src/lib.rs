//! Generates the tables of `docs/configuration.md` from the settings in the code.
//!
//! The tests of this crate check what the documents say: links, commands, configuration in code
//! blocks, metric names, and the queries of dashboard and alert rules.

use anyhow::{Context, Result};
use finality_filter::config::reference::KEYS;
use finality_sidecar::config::SETTINGS;

/// The page with the generated tables, relative to the root of the checkout.
pub const PAGE: &str = "docs/configuration.md";

/// The page with its tables regenerated; the rest is unchanged.
///
/// # Errors
/// The markers around a table are missing.
pub fn with_tables(page: &str) -> Result<String> {
    let page = replaced(page, "filter", &filter_table())?;
    replaced(&page, "sidecar", &sidecar_table())
}

fn replaced(page: &str, name: &str, table: &str) -> Result<String> {
    let begin = format!("<!-- {name}: written by `cargo xtask docs` -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let lost = || format!("{PAGE} lacks a marker: {} … {}", begin.trim(), end.trim());
    let (before, rest) = page.split_once(&begin).with_context(lost)?;
    let (_, after) = rest.split_once(&end).with_context(lost)?;
    Ok(format!("{before}{begin}\n{table}\n{end}{after}"))
}

fn filter_table() -> String {
    let mut table = String::from("| key | default | meaning |\n| --- | --- | --- |\n");
    for key in &KEYS {
        table += &row(key.name, key.default, key.meaning);
    }
    table
}

fn sidecar_table() -> String {
    let mut table = String::from("| setting | default | meaning |\n| --- | --- | --- |\n");
    for setting in SETTINGS {
        let default = match (setting.default, setting.required) {
            (Some(value), _) => format!("`{value}`"),
            (None, true) => "required".into(),
            (None, false) => "none".into(),
        };
        table += &row(setting.name, &default, setting.help);
    }
    table
}

fn row(name: &str, default: &str, meaning: &str) -> String {
    format!("| `{name}` | {default} | {} |\n", meaning.replace('|', "\\|"))
}
