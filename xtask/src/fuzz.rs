//! Fuzz targets: with libFuzzer, or with mutations of the corpus where libFuzzer cannot be built.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    process,
    tools::{cache::Cache, crates::CARGO_FUZZ},
    workspace::{Workspace, forget_outer_cargo},
};

/// Maximum input in bytes: twice the longest of the corpus.
const LONGEST: usize = 40_000;
/// Mutations per corpus file and second of the time limit, without libFuzzer.
const MUTATIONS: u64 = 2_000;

/// Runs the named targets, or all if none is named, for `seconds` each.
///
/// # Errors
/// A name is unknown, or a target fails; its input is then in `fuzz/artifacts`.
pub(crate) fn run(
    workspace: &Workspace,
    cache: &Cache,
    seconds: u64,
    wanted: &[String],
) -> Result<()> {
    let known = targets(workspace)?;
    if let Some(name) = wanted.iter().find(|name| !known.contains(name)) {
        bail!("unknown fuzz target `{name}`; targets: {}", known.join(", "));
    }
    let chosen = if wanted.is_empty() { &known } else { wanted };
    let cargo_fuzz = match CARGO_FUZZ.find(cache) {
        Ok(program) => program,
        Err(error) => {
            process::step(format_args!("mutations only, without libFuzzer: {error:#}"));
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
        bail!("failed fuzz targets: {}", failed.join(", "));
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

/// Runs one target with libFuzzer. Safe Rust needs no sanitizer, hence no nightly compiler. What
/// libFuzzer finds stays under `target`; the corpus in the repository grows by hand only.
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
