//! Builds the module that Envoy loads, cuts it to its interface, and checks it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{compile, module, process, tools::wasm, workspace::Workspace};

/// Builds `filter/finality_filter.wasm` in the target folder and prints its size and digest.
///
/// # Errors
/// There is no compiler for WebAssembly, the build fails, or the module breaks a rule of `module`.
pub(crate) fn build(workspace: &Workspace, force_fallback: bool) -> Result<PathBuf> {
    let compiler = wasm::set_up(workspace, force_fallback)?;
    process::step(format_args!("building the filter ({compiler})"));
    let bytes = module::trim(&compile::module(workspace, &compiler, "finality-filter")?)?;
    if let Err(faults) = module::check(&bytes) {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        bail!("the module must not be shipped: {}", faults.join("; "));
    }
    let path = workspace.target.join("filter/finality_filter.wasm");
    publish(&bytes, &path).with_context(|| path.display().to_string())?;

    let shown = path.strip_prefix(&workspace.root).unwrap_or(&path).display();
    println!("{shown}");
    println!("size   {} bytes of at most {}", bytes.len(), module::MAX_BYTES);
    println!("sha256 {}", digest(&bytes));
    Ok(path)
}

/// Replaces the file instead of overwriting it: an Envoy may be reading the old one.
fn publish(bytes: &[u8], path: &Path) -> Result<()> {
    let folder = path.parent().context("it has a folder")?;
    fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), bytes)?;
    // Temporary files are private, and Envoy runs as another user.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file.path(), everybody)?;
    file.persist(path)?;
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_module_replaces_the_old_one_and_is_world_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/module.wasm");
        publish(b"a longer first module", &path).unwrap();
        publish(b"second", &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
    }
}
