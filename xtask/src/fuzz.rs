//! The fuzz targets: under libFuzzer, or over corpus and mutations where that cannot be built.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    process,
    tools::cache::Cache,
    workspace::{Workspace, forget_outer_cargo},
};

/// The version of cargo-fuzz that is installed if there is none.
const VERSION: &str = "0.13.2";
/// Longest input, in bytes: twice the longest of the corpus.
const LONGEST: usize = 40_000;
/// Mutations of each file of the corpus for each second, without libFuzzer.
const MUTATIONS: u64 = 2_000;

/// Runs the targets with these names, all if there are none, each for so many seconds.
///
/// # Errors
/// No target has such a name, or a target fails: what it failed on is then under `fuzz/artifacts`.
pub(crate) fn run(
    workspace: &Workspace,
    cache: &Cache,
    seconds: u64,
    wanted: &[String],
) -> Result<()> {
    let known = targets(workspace)?;
    if let Some(name) = wanted.iter().find(|name| !known.contains(name)) {
        bail!("no fuzz target is called `{name}`; there are: {}", known.join(", "));
    }
    let chosen = if wanted.is_empty() { &known } else { wanted };
    let cargo_fuzz = match cargo_fuzz(workspace, cache) {
        Ok(program) => program,
        Err(error) => {
            process::step(format_args!(
                "without libFuzzer, since there is no cargo-fuzz: {error:#}"
            ));
            return mutate(workspace, seconds, chosen);
        }
    };
    let mut failed = Vec::new();
    for name in chosen {
        process::step(format_args!("fuzz target {name}"));
        if let Err(error) = fuzz(workspace, &cargo_fuzz, name, seconds) {
            eprintln!("error: {error:#}");
            failed.push(name.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("these fuzz targets failed: {}", failed.join(", "));
    }
    Ok(())
}

fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn cargo_fuzz(workspace: &Workspace, cache: &Cache) -> Result<PathBuf> {
    if let Some(program) = process::find_in_path("cargo-fuzz") {
        return Ok(program);
    }
    cache.keep(&format!("cargo-fuzz-{VERSION}"), "cargo-fuzz", |empty| {
        process::step(format_args!("installing cargo-fuzz {VERSION}"));
        let mut cargo = workspace.cargo();
        cargo.args(["install", "--quiet", "--locked", "cargo-fuzz", "--version", VERSION]);
        cargo.arg("--root").arg(empty).arg("--target-dir").arg(empty.join("build"));
        process::output(&mut cargo)?;
        Ok(empty.join("bin/cargo-fuzz"))
    })
}

/// Runs one target under libFuzzer. The code is safe Rust, so that no sanitizer, and with it no
/// nightly compiler, is needed. What libFuzzer learns stays under `target`; the corpus of the
/// repository only grows by hand.
fn fuzz(workspace: &Workspace, cargo_fuzz: &PathBuf, name: &str, seconds: u64) -> Result<()> {
    let target = workspace.target.join("fuzz");
    let learned = target.join("corpus").join(name);
    fs::create_dir_all(&learned)?;
    let mut command = Command::new(cargo_fuzz);
    forget_outer_cargo(&mut command);
    command
        .current_dir(&workspace.root)
        .args(["run", "--sanitizer", "none", "--target-dir"])
        .args([&target])
        .arg(name)
        .arg(learned)
        .arg(workspace.root.join("fuzz/corpus").join(name))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg("-print_final_stats=1");
    process::run(&mut command)
}

fn mutate(workspace: &Workspace, seconds: u64, names: &[String]) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo
        .args(["test", "--package", "finality-sidecar", "--test", "it", "corpus::"])
        .env("FINALITY_FUZZ_TARGETS", names.join(","))
        .env("FINALITY_FUZZ_MUTATIONS", seconds.saturating_mul(MUTATIONS).to_string());
    process::run(&mut cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_refused_by_name() {
        let workspace = Workspace::find().unwrap();
        let cache = Cache::at(workspace.target.join("none"));
        let error = run(&workspace, &cache, 1, &["nothing".into()]).unwrap_err().to_string();
        assert!(error.contains("`nothing`") && error.contains("op_payload"), "{error}");
    }
}
