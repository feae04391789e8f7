//! The crates that others may use: each packaged, built for its targets, with its recorded public
//! API.

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

/// A crate that others may use.
struct Published {
    name: &'static str,
    /// The recorded public API, one line per item, relative to the root of the checkout.
    record: &'static str,
    /// Targets besides the host, which its package is built for.
    targets: &'static [&'static str],
}

const PUBLISHED: [Published; 2] = [
    Published {
        name: "finality-core",
        record: "shared/public-api.txt",
        targets: &[wasm::TARGET, "wasm32-wasip1"],
    },
    // Packaging builds it for the host.
    Published { name: "espresso-proofs", record: "proofs/public-api.txt", targets: &[] },
];

/// Packages the crates and checks the packages; with `write` records the public APIs.
///
/// # Errors
/// A crate cannot be packaged, its package does not build by itself, or its public API differs.
pub(crate) fn check(workspace: &Workspace, force_fallback: bool, write: bool) -> Result<()> {
    for published in &PUBLISHED {
        let Published { name, targets, .. } = published;
        process::step(format_args!("packaging {name}"));
        let mut cargo = workspace.cargo();
        // Uncommitted changes are packaged, too.
        process::run(cargo.args(["package", "--quiet", "--allow-dirty", "--package", name]))?;
        if !targets.is_empty() {
            let folder = tempfile::tempdir()?;
            let packed = unpack(workspace, name, folder.path())?;
            let compiler = wasm::set_up(workspace, force_fallback)?;
            let targets = available(workspace, &compiler, targets);
            process::step(format_args!("{name} for {}", targets.join(", ")));
            process::run(&mut build(workspace, &compiler, &packed, &targets))?;
        }
        process::step(format_args!("public API of {name}"));
        public_interface(workspace, published, write)?;
    }
    Ok(())
}

/// Unpacks the package and returns its folder, outside the checkout so that it is not taken for a
/// member of the workspace.
fn unpack(workspace: &Workspace, package: &str, folder: &Path) -> Result<PathBuf> {
    let name = format!("{package}-{}", env!("CARGO_PKG_VERSION"));
    let archive = workspace.target.join("package").join(format!("{name}.crate"));
    let mut tar = Command::new("tar");
    process::run(
        tar.arg("--extract").arg("--gzip").arg("--file").arg(archive).arg("-C").arg(folder),
    )?;
    Ok(folder.join(name))
}

/// The targets of these that this machine can build.
fn available(
    workspace: &Workspace,
    compiler: &Compiler,
    targets: &[&'static str],
) -> Vec<&'static str> {
    let mut targets = targets.to_vec();
    let Compiler::Rustup = compiler else { return targets };
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
fn public_interface(workspace: &Workspace, published: &Published, write: bool) -> Result<()> {
    let &Published { name, record, .. } = published;
    // In a folder of its own: the variable below would rebuild all dependencies.
    let target = workspace.target.join("public-api");
    let mut cargo = workspace.cargo();
    cargo.args(["rustdoc", "--quiet", "--lib", "--package", name]);
    cargo.arg("--target-dir").arg(&target);
    cargo.args(["--", "-Zunstable-options", "--output-format", "json"]);
    // The format is unstable, but both the compiler and the parser are pinned.
    process::run(cargo.env("RUSTC_BOOTSTRAP", "1"))?;
    let json = target.join("doc").join(name.replace('-', "_")).with_extension("json");
    let found = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?
        .to_string();
    let path = workspace.root.join(record);
    if write {
        return fs::write(&path, found).with_context(|| record);
    }
    let recorded = fs::read_to_string(&path).with_context(|| record)?;
    let difference = difference(&recorded, &found);
    if !difference.is_empty() {
        bail!(
            "the public API of {name} differs from {record}; if intended, run `cargo xtask package --write`:\n{}",
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
