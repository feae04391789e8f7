//! The package of `finality-core`: built for each supported target, with the recorded public API.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    compile, process,
    tools::wasm::{self, Compiler},
    workspace::Workspace,
};

const CRATE: &str = "finality-core";

/// Targets besides the host.
const TARGETS: [&str; 2] = [wasm::TARGET, "wasm32-wasip1"];

/// The recorded public API, one line per item, relative to the root of the checkout.
const RECORD: &str = "shared/public-api.txt";

/// Packages the crate and checks the package; with `write` records the public API.
///
/// # Errors
/// The crate cannot be packaged, the package does not build by itself, or the public API differs.
pub(crate) fn check(workspace: &Workspace, force_fallback: bool, write: bool) -> Result<()> {
    process::step(format_args!("packaging {CRATE}"));
    let mut cargo = workspace.cargo();
    // Uncommitted changes are packaged, too.
    process::run(cargo.args(["package", "--quiet", "--allow-dirty", "--package", CRATE]))?;
    let folder = tempfile::tempdir()?;
    let packed = unpack(workspace, folder.path())?;
    let compiler = wasm::set_up(workspace, force_fallback)?;
    let targets = targets(workspace, &compiler);
    process::step(format_args!("{CRATE} for {}", targets.join(", ")));
    process::run(&mut build(workspace, &compiler, &packed, &targets))?;
    process::step(format_args!("public API of {CRATE}"));
    public_interface(workspace, write)
}

/// Unpacks the package and returns its folder, outside the checkout so that it is not taken for a
/// member of the workspace.
fn unpack(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    let name = format!("{CRATE}-{}", env!("CARGO_PKG_VERSION"));
    let archive = workspace.target.join("package").join(format!("{name}.crate"));
    let mut tar = Command::new("tar");
    process::run(
        tar.arg("--extract").arg("--gzip").arg("--file").arg(archive).arg("-C").arg(folder),
    )?;
    Ok(folder.join(name))
}

/// The targets this machine can build.
fn targets(workspace: &Workspace, compiler: &Compiler) -> Vec<&'static str> {
    let Compiler::Rustup = compiler else { return TARGETS.to_vec() };
    let mut targets = TARGETS.to_vec();
    targets.retain(|target| {
        let there = wasm::is_installed(workspace, target) || wasm::add(workspace, target);
        if !there {
            process::step(format_args!("skipped: rustup cannot add {target}"));
        }
        there
    });
    targets
}

fn build(workspace: &Workspace, compiler: &Compiler, packed: &Path, targets: &[&str]) -> Command {
    let mut cargo = match compiler {
        Compiler::Rustup => {
            let mut cargo = workspace.cargo();
            cargo.arg("build");
            cargo
        }
        Compiler::Debian { linker, .. } => {
            let mut cargo = compile::debian_cargo(workspace, linker);
            // The target's C library is missing there. A check needs none, and finds what the build
            // of a library would find.
            cargo.args(["check", "-Zbuild-std=std,panic_abort"]);
            cargo
        }
    };
    cargo.args(["--quiet", "--lib"]).arg("--manifest-path").arg(packed.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(workspace.target.join("packed"));
    for target in targets {
        cargo.args(["--target", target]);
    }
    // No debugger will need it.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    cargo
}

/// Compares the public API with the record.
fn public_interface(workspace: &Workspace, write: bool) -> Result<()> {
    // In a folder of its own: the variable below would rebuild all dependencies.
    let target = workspace.target.join("public-api");
    let mut cargo = workspace.cargo();
    cargo.args(["rustdoc", "--quiet", "--lib", "--package", CRATE]);
    cargo.arg("--target-dir").arg(&target);
    cargo.args(["--", "-Zunstable-options", "--output-format", "json"]);
    // The format is unstable, but both the compiler and the parser are pinned.
    process::run(cargo.env("RUSTC_BOOTSTRAP", "1"))?;
    let json = target.join("doc").join(CRATE.replace('-', "_")).with_extension("json");
    let found = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?
        .to_string();
    let path = workspace.root.join(RECORD);
    if write {
        return fs::write(&path, found).with_context(|| RECORD);
    }
    let recorded = fs::read_to_string(&path).with_context(|| RECORD)?;
    let difference = difference(&recorded, &found);
    if !difference.is_empty() {
        bail!(
            "the public API of {CRATE} differs from {RECORD}; if intended, run `cargo xtask package --write`:\n{}",
            difference.join("\n")
        );
    }
    Ok(())
}

/// Removed and added lines.
fn difference(recorded: &str, found: &str) -> Vec<String> {
    let without = |text: &str, other: &str, mark: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !other.lines().any(|known| known == *line));
        lines.map(|line| format!("{mark} {line}")).collect()
    };
    let mut difference = without(recorded, found, "-");
    difference.extend(without(found, recorded, "+"));
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_removed_and_added_lines() {
        assert_eq!(difference("a\nb\n", "b\na\n"), Vec::<String>::new());
        assert_eq!(difference("a\nb\n", "b\nc\n"), ["- a", "+ c"]);
    }
}
