//! Builds the module that Envoy loads, and checks it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{
    module, process,
    tools::wasm::{self, Compiler},
    workspace::{self, Workspace},
};

/// Builds `filter/finality_filter.wasm` in the target folder and prints its size and digest.
///
/// # Errors
/// There is no compiler for it, the build fails, or the module is not as it must be.
pub(crate) fn build(workspace: &Workspace, force_fallback: bool) -> Result<PathBuf> {
    let compiler = wasm::set_up(workspace, force_fallback)?;
    process::step(format_args!("building the filter ({compiler})"));
    let built = workspace::build(&mut cargo(workspace, &compiler))?;
    let is_module = |path: &&PathBuf| path.extension().is_some_and(|name| name == "wasm");
    let built = built
        .iter()
        .filter(|artifact| artifact.name == "finality_filter")
        .find_map(|artifact| artifact.files.iter().find(is_module))
        .context("cargo built no module: is `cdylib` among the crate types of finality-filter?")?;

    let bytes = fs::read(built).with_context(|| built.display().to_string())?;
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

/// An Envoy may be reading the old file: it is replaced, not written over.
fn publish(bytes: &[u8], path: &Path) -> Result<()> {
    let folder = path.parent().context("it has a folder")?;
    fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), bytes)?;
    // A temporary file is ours alone; this one is for everybody, Envoy's own user included.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file.path(), everybody)?;
    file.persist(path)?;
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cargo(workspace: &Workspace, compiler: &Compiler) -> Command {
    let mut cargo = match compiler {
        Compiler::Rustup => workspace.cargo(),
        Compiler::Debian { linker, .. } => debian_cargo(workspace, linker),
    };
    cargo
        .args(["build", "--package", "finality-filter", "--lib", "--profile", "filter"])
        .args(["--target", wasm::TARGET]);
    if let Compiler::Debian { .. } = compiler {
        // Two compilers must not share a folder.
        cargo.arg("--target-dir").arg(workspace.target.join("wasm-fallback"));
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    // The same module whatever flags the user has for other programs.
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, compiler));
    cargo
}

/// Debian's cargo and compiler, which see nothing of rustup's.
pub(crate) fn debian_cargo(workspace: &Workspace, linker: &Path) -> Command {
    let mut cargo = Command::new(wasm::DEBIAN_CARGO);
    workspace::forget_outer_cargo(&mut cargo);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("RUSTC") || text.starts_with("RUSTUP_") || text == "CARGO_BUILD_TARGET"
        {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(&workspace.root)
        .env("RUSTC", wasm::DEBIAN_RUSTC)
        // Building the standard library counts as unstable, and this is a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    cargo
}

/// Compiler flags, as cargo wants them in one variable.
///
/// The paths of this machine are replaced, so that the module is the same wherever it is built.
fn flags(workspace: &Workspace, compiler: &Compiler) -> OsString {
    let mut flags = OsString::from("-Ctarget-feature=+simd128");
    let mut replace = |path: &Path, name: &str| {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(name);
    };
    // Of several prefixes that match, the last one counts.
    if let Compiler::Debian { sysroot, .. } = compiler {
        replace(sysroot, "rust");
    }
    replace(&workspace::cargo_home(), "cargo");
    replace(&workspace.root, "finality");
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256_in_hex() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), empty);
    }

    #[test]
    fn a_published_module_replaces_the_old_one_and_is_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/module.wasm");
        publish(b"a longer first module", &path).unwrap();
        publish(b"second", &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn the_compiler_of_debian_sees_nothing_of_rustup() {
        let workspace = Workspace { root: "/checkout".into(), target: "/checkout/target".into() };
        let compiler = Compiler::Debian { linker: "/bin/wasm-ld".into(), sysroot: "/usr".into() };
        let cargo = cargo(&workspace, &compiler);
        assert_eq!(cargo.get_program(), wasm::DEBIAN_CARGO);
        let set = |name: &str| {
            cargo.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value)
        };
        assert_eq!(set("RUSTC"), Some(wasm::DEBIAN_RUSTC.as_ref()));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("RUSTUP_") || text.starts_with("CARGO_PKG_") || text == "CARGO" {
                assert!(
                    cargo.get_envs().any(|(key, value)| key == name && value.is_none()),
                    "{text}"
                );
            }
        }
        let flags = set("CARGO_ENCODED_RUSTFLAGS").unwrap().to_string_lossy();
        let last = flags.split('\u{1f}').next_back();
        assert_eq!(last, Some("--remap-path-prefix=/checkout=finality"));
    }
}
