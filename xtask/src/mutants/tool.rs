//! cargo-mutants: it knows what can be changed, and changes what needs a build of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{Package, QUICK_CASES};
use crate::{process, workspace::forget_outer_cargo};

/// A change that cargo-mutants proposes.
#[derive(Debug, Deserialize)]
pub(super) struct Mutant {
    /// `FILE:LINE:COLUMN: DESCRIPTION`
    pub(super) name: String,
    pub(super) file: String,
    pub(super) package: String,
    /// The kind of change.
    pub(super) genre: String,
    /// The new text.
    pub(super) replacement: String,
    pub(super) span: Span,
    pub(super) function: Option<Function>,
}

/// The function that has the mutant.
#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) return_type: String,
}

/// The text that is replaced.
#[derive(Debug, Deserialize)]
pub(super) struct Span {
    pub(super) start: Place,
}

/// Counted from one.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Mutant {
    /// Whether the change is a value of a type that the function names: if it does not compile
    /// beside the body of the function, it does not compile in its place either.
    pub(super) fn is_value(&self) -> bool {
        let named = |function: &Function| !function.return_type.contains("impl ");
        self.genre == "FnValue" && self.function.as_ref().is_some_and(named)
    }
}

/// The program, and the folders in which it works.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) sources: PathBuf,
    pub(super) build: PathBuf,
}

impl Tool {
    /// The mutants of the files. What a constant is has no rule beside itself.
    ///
    /// # Errors
    /// The program fails.
    pub(super) fn mutants(&self, files: &[&str]) -> Result<Vec<Mutant>> {
        let mut list = self.command();
        list.args(["--list", "--json"]).args(files.iter().flat_map(|file| ["--file", file]));
        let list = process::output(&mut list)?;
        let mut mutants: Vec<Mutant> =
            serde_json::from_str(&list).context("the list of mutants")?;
        mutants.retain(|mutant| mutant.function.is_some());
        Ok(mutants)
    }

    /// Those of the named mutants that the quick tests of the package do not notice. Each is
    /// compiled by itself.
    ///
    /// # Errors
    /// The program fails.
    pub(super) fn unnoticed_quickly(
        &self,
        package: &Package,
        files: &[&str],
        names: &[&str],
    ) -> Result<Vec<String>> {
        let out = self.folder.join(format!("{}-quick", package.folder));
        let mut quick = self.trial(files, names, &out);
        quick.args(["--timeout", "120"]).env("PROPTEST_CASES", QUICK_CASES);
        quick.args(package.quick.iter().map(|argument| format!("--cargo-arg={argument}")));
        quick.args(["--", "--"]).args(package.slow.iter().flat_map(|test| ["--skip", test]));
        unnoticed(quick, &out, names)
    }

    /// Those of the named mutants that no test of the package notices. Each is compiled by itself.
    ///
    /// # Errors
    /// The program fails.
    pub(super) fn survivors(
        &self,
        package: &Package,
        files: &[&str],
        names: &[&str],
    ) -> Result<Vec<String>> {
        let out = self.folder.join(format!("{}-all", package.folder));
        let mut all = self.trial(files, names, &out);
        all.args(["--timeout", "1200"]);
        unnoticed(all, &out, names)
    }

    /// The tests have passed without a mutant already.
    fn trial(&self, files: &[&str], names: &[&str], out: &Path) -> Command {
        let mut mutants = self.command();
        mutants.arg("--baseline=skip").args(files.iter().flat_map(|file| ["--file", file]));
        mutants.args(["--in-place", "--no-shuffle", "--colors", "never", "--annotations", "none"]);
        mutants.args(names.iter().map(|name| format!("--re=^{}$", regex::escape(name))));
        mutants.arg("--output").arg(out);
        mutants
    }

    fn command(&self) -> Command {
        let mut mutants = Command::new(&self.program);
        forget_outer_cargo(&mut mutants);
        mutants.current_dir(&self.sources).arg("mutants");
        mutants.env("CARGO_TARGET_DIR", &self.build);
        // Without it, linking takes longer than compiling.
        mutants.env("CARGO_PROFILE_DEV_DEBUG", "0");
        mutants
    }
}

/// Runs cargo-mutants and returns which of the named mutants no test noticed. A mutant that hangs
/// is noticed. It does not choose among fields by their names.
fn unnoticed(mut mutants: Command, out: &Path, names: &[&str]) -> Result<Vec<String>> {
    fs::create_dir_all(out)?;
    let status = mutants.status().context("cannot start `cargo-mutants`")?;
    // 2 and 3: some mutants survived or timed out.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("cargo-mutants failed ({status})");
    }
    let outcomes = fs::read_to_string(out.join("mutants.out/outcomes.json"))?;
    let mut missed = missed(&serde_json::from_str(&outcomes)?)?;
    missed.retain(|name| names.contains(&name.as_str()));
    Ok(missed)
}

/// The names of the mutants that no test noticed, in the output of cargo-mutants.
pub(super) fn missed(outcomes: &Value) -> Result<Vec<String>> {
    let outcomes = outcomes.get("outcomes").and_then(Value::as_array).context("no outcomes")?;
    let missed = outcomes
        .iter()
        .filter(|outcome| outcome.get("summary").and_then(Value::as_str) == Some("MissedMutant"));
    let name = |outcome: &Value| {
        let name = outcome.pointer("/scenario/Mutant/name").and_then(Value::as_str);
        Ok(name.context("a mutant has a name")?.to_owned())
    };
    missed.map(name).collect()
}
