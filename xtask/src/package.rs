//! `finality-core` as others get it: packed, built for each target that it promises, its public
//! interface as recorded.

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

/// Targets beside the host.
const TARGETS: [&str; 2] = [wasm::TARGET, "wasm32-wasip1"];

/// The recorded public interface, one line for each item, from the top of the checkout.
const RECORD: &str = "shared/public-api.txt";

/// Packs the crate and checks what was packed. With `write` the public interface is recorded anew.
///
/// # Errors
/// It cannot be packed or built from that alone, or its public interface is another one.
pub(crate) fn check(workspace: &Workspace, force_fallback: bool, write: bool) -> Result<()> {
    process::step(format_args!("packing {CRATE}, and building it from that alone"));
    let mut cargo = workspace.cargo();
    // What is about to be committed may be packed, too.
    process::run(cargo.args(["package", "--quiet", "--allow-dirty", "--package", CRATE]))?;
    let folder = tempfile::tempdir()?;
    let packed = unpack(workspace, folder.path())?;
    let compiler = wasm::set_up(workspace, force_fallback)?;
    let targets = targets(workspace, &compiler);
    process::step(format_args!("{CRATE} for {}", targets.join(", ")));
    process::run(&mut build(workspace, &compiler, &packed, &targets))?;
    process::step(format_args!("the public interface of {CRATE}"));
    public_interface(workspace, write)
}

/// The folder of the packed crate. It is unpacked outside of the checkout, whose workspace would
/// claim it.
fn unpack(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    let name = format!("{CRATE}-{}", env!("CARGO_PKG_VERSION"));
    let archive = workspace.target.join("package").join(format!("{name}.crate"));
    let mut tar = Command::new("tar");
    process::run(
        tar.arg("--extract").arg("--gzip").arg("--file").arg(archive).arg("-C").arg(folder),
    )?;
    Ok(folder.join(name))
}

/// The targets that can be built for here.
fn targets(workspace: &Workspace, compiler: &Compiler) -> Vec<&'static str> {
    let Compiler::Rustup = compiler else { return TARGETS.to_vec() };
    let mut targets = TARGETS.to_vec();
    targets.retain(|target| {
        let there = wasm::is_installed(workspace, target) || wasm::add(workspace, target);
        if !there {
            process::step(format_args!("skipped: rustup does not have {target}"));
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
            // The C library of the target is missing there. A check does without, and would find
            // what a build of a library finds.
            cargo.args(["check", "-Zbuild-std=std,panic_abort"]);
            cargo
        }
    };
    cargo.args(["--quiet", "--lib"]).arg("--manifest-path").arg(packed.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(workspace.target.join("packed"));
    for target in targets {
        cargo.args(["--target", target]);
    }
    // Nobody looks at it with a debugger.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    cargo
}

/// Compares the public interface with the record.
fn public_interface(workspace: &Workspace, write: bool) -> Result<()> {
    // A folder of its own, since the setting below would have the dependencies built anew for
    // everybody.
    let target = workspace.target.join("public-api");
    let mut cargo = workspace.cargo();
    cargo.args(["rustdoc", "--quiet", "--lib", "--package", CRATE]);
    cargo.arg("--target-dir").arg(&target);
    cargo.args(["--", "-Zunstable-options", "--output-format", "json"]);
    // The form of this output is not stable, but the compiler is pinned, and so is the reader of
    // the form.
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
            "the public interface of {CRATE} is not the recorded one; if that is meant, run `cargo xtask package --write`:\n{}",
            difference.join("\n")
        );
    }
    Ok(())
}

/// What was taken away and what was added, line by line.
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
    fn a_difference_shows_what_went_and_what_came() {
        assert_eq!(difference("a\nb\n", "b\na\n"), Vec::<String>::new());
        assert_eq!(difference("a\nb\n", "b\nc\n"), ["- a", "+ c"]);
    }
}
