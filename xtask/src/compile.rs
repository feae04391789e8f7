//! Compiles a package of the workspace to WebAssembly: the filter or the status page.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    tools::wasm::{self, Compiler},
    workspace::{self, Workspace},
};

/// Compiles the library of `package` and returns the module.
///
/// # Errors
/// The build fails, or the package is not a `cdylib`.
pub(crate) fn module(workspace: &Workspace, compiler: &Compiler, package: &str) -> Result<Vec<u8>> {
    let built = workspace::build(&mut cargo(workspace, compiler, package))?;
    let is_module = |path: &&PathBuf| path.extension().is_some_and(|name| name == "wasm");
    let library = package.replace('-', "_");
    let built = built
        .iter()
        .filter(|artifact| artifact.name == library)
        .find_map(|artifact| artifact.files.iter().find(is_module))
        .with_context(|| {
            format!("cargo built no module: is `cdylib` among the crate types of {package}?")
        })?;
    fs::read(built).with_context(|| built.display().to_string())
}

fn cargo(workspace: &Workspace, compiler: &Compiler, package: &str) -> Command {
    let mut cargo = match compiler {
        Compiler::Rustup => workspace.cargo(),
        Compiler::Debian { linker, .. } => debian_cargo(workspace, linker),
    };
    cargo
        .args(["build", "--package", package, "--lib", "--profile", "filter"])
        .args(["--target", wasm::TARGET]);
    if let Compiler::Debian { .. } = compiler {
        // Two compilers must not share a folder.
        cargo.arg("--target-dir").arg(workspace.target.join("wasm-fallback"));
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    // The user's flags must not change the module.
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, compiler));
    cargo
}

/// Debian's cargo and compiler, isolated from rustup's.
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

/// Compiler flags in the encoding of `CARGO_ENCODED_RUSTFLAGS`.
///
/// Paths of this machine are remapped, so that builds are reproducible anywhere.
fn flags(workspace: &Workspace, compiler: &Compiler) -> OsString {
    let mut flags = OsString::from("-Ctarget-feature=+simd128");
    let mut replace = |path: &Path, name: &str| {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(name);
    };
    // If several prefixes match, the last one wins.
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
    fn debians_compiler_is_isolated_from_rustup() {
        let workspace = Workspace { root: "/checkout".into(), target: "/checkout/target".into() };
        let compiler = Compiler::Debian { linker: "/bin/wasm-ld".into(), sysroot: "/usr".into() };
        let cargo = cargo(&workspace, &compiler, "finality-filter");
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
