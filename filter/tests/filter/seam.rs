//! The SDK stays behind the seam.

use std::{fs, path::Path};

/// The sources, by their paths below `src`.
fn sources(folder: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            sources(&path, &format!("{name}/"), found);
        } else {
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn only_host_and_contexts_name_the_sdk() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    let name_it = |(_, text): &&(String, String)| text.contains("proxy_wasm");
    let mut names: Vec<_> = found.iter().filter(name_it).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["contexts.rs", "host/headers.rs", "host/mod.rs", "host/shared_data.rs"]);
    let is_unsafe = |(_, text): &&(String, String)| text.contains("unsafe {");
    let names: Vec<_> = found.iter().filter(is_unsafe).map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["host/headers.rs"]);
}
