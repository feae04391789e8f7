//! Builds the WebAssembly of the status page, `sidecar/page`, which the sidecar embeds.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::{compile, process, tools::wasm, workspace::Workspace};

/// Where the sidecar's build script looks.
const FOLDER: &str = "sidecar/page/built";
/// The files it embeds: the module and the JavaScript that loads it.
const FILES: [&str; 2] = ["finality_page_bg.wasm", "finality_page.js"];
/// Size budget of the module in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// Builds the module and its JavaScript. Unchanged files are not touched, so that cargo does not
/// rebuild the sidecar.
///
/// # Errors
/// There is no compiler for WebAssembly, the build fails, or the module is too large.
pub(crate) fn build(workspace: &Workspace, force_fallback: bool) -> Result<()> {
    let compiler = wasm::set_up(workspace, force_fallback)?;
    process::step(format_args!("building the page ({compiler})"));
    let module = compile::module(workspace, &compiler, "finality-page")?;
    let fresh = tempfile::tempdir()?;
    Bindgen::new()
        .input_bytes("finality_page", module)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(fresh.path())
        .context("wasm-bindgen")?;
    let size = fresh.path().join(FILES[0]).metadata()?.len();
    if size > MAX_BYTES {
        bail!("the page's module has {size} bytes; the limit is {MAX_BYTES}");
    }
    let folder = workspace.root.join(FOLDER);
    for name in FILES {
        replace(&fresh.path().join(name), &folder.join(name)).context(name)?;
    }
    println!("{FOLDER}/{}: {size} bytes (limit {MAX_BYTES})", FILES[0]);
    Ok(())
}

/// Replaces a file if its content differs.
fn replace(fresh: &Path, path: &Path) -> Result<()> {
    let bytes = fs::read(fresh)?;
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = path.parent().context("it has a folder")?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_file_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (fresh, path) = (folder.path().join("fresh"), folder.path().join("kept"));
        fs::write(&fresh, "one").unwrap();
        replace(&fresh, &path).unwrap();
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
        let first = inode(&path);
        replace(&fresh, &path).unwrap();
        assert_eq!(inode(&path), first);
        fs::write(&fresh, "two").unwrap();
        replace(&fresh, &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_ne!(inode(&path), first);
    }
}
