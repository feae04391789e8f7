//! Mutation testing of the files that hold rules: a change of the code that no test notices is
//! either in `survivors.toml`, with its reason, or a test is missing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    process,
    tools::{cache::Cache, crates::CARGO_MUTANTS},
    workspace::{Workspace, forget_outer_cargo},
};

/// Relative to the root of the checkout.
const LIST: &str = "xtask/src/mutants/survivors.toml";

/// How many cases a property test tries in the first pass.
const QUICK_CASES: &str = "32";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// The files that hold rules; a folder stands for all files in it.
    files: Vec<String>,
    package: Vec<Package>,
    #[serde(default)]
    survivor: Vec<Survivor>,
}

/// The first pass over a package. Most mutants fail one of the quick tests; the second pass runs
/// all tests on the rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    folder: String,
    /// The targets with quick tests, as arguments for cargo.
    quick: Vec<String>,
    /// Tests in them that are slow.
    slow: Vec<String>,
}

/// A mutant that no test can or should notice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    file: String,
    /// The change as cargo-mutants describes it, without its line.
    mutant: String,
    /// How many such mutants the file has.
    #[serde(default = "one")]
    count: usize,
    reason: String,
}

impl List {
    fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text).context(LIST)?;
        match list.survivor.iter().find(|survivor| survivor.reason.is_empty()) {
            Some(Survivor { file, mutant, .. }) => bail!("{LIST}: no reason: {file}: {mutant}"),
            None => Ok(list),
        }
    }
}

fn one() -> usize {
    1
}

/// The number of mutants of each file and description.
type Mutants = BTreeMap<(String, String), usize>;

/// Mutates the listed files whose paths contain one of `wanted`, or all if it is empty, and
/// compares the survivors with the list.
///
/// # Errors
/// The survivors differ from the list, or cargo-mutants cannot run.
pub(crate) fn run(workspace: &Workspace, cache: &Cache, wanted: &[String]) -> Result<()> {
    let list = List::parse(&fs::read_to_string(workspace.root.join(LIST)).context(LIST)?)?;
    let files = chosen(workspace, &list.files, wanted)?;
    let mutator = Mutator::prepare(workspace, cache)?;
    let mut survived = Mutants::new();
    for package in &list.package {
        let folder = format!("{}/", package.folder);
        let files: Vec<&str> =
            files.iter().map(String::as_str).filter(|file| file.starts_with(&folder)).collect();
        if !files.is_empty() {
            survived.extend(counted(&mutator.survivors(package, &files)?)?);
        }
    }
    let expected = expected(&list.survivor, &files);
    let problems = differences(&survived, &expected);
    if !problems.is_empty() {
        bail!("the survivors differ from {LIST}:\n{}", problems.join("\n"));
    }
    println!("{} survivors, all of them expected", expected.values().sum::<usize>());
    Ok(())
}

/// Runs cargo-mutants in a copy of the sources that has the same path each time, so that cargo
/// compiles no more than what a mutant changes.
struct Mutator {
    program: PathBuf,
    folder: PathBuf,
}

impl Mutator {
    fn prepare(workspace: &Workspace, cache: &Cache) -> Result<Self> {
        let program = CARGO_MUTANTS.find(cache)?;
        let folder = workspace.target.join("mutants");
        workspace.copy_sources(&folder.join("sources"))?;
        Ok(Self { program, folder })
    }

    /// The names of the mutants of `files` that neither the quick tests of the package notice nor,
    /// of those that are left, all of them.
    fn survivors(&self, package: &Package, files: &[&str]) -> Result<Vec<String>> {
        process::step(format_args!("the quick tests on mutants of {}", files.join(", ")));
        let out = self.folder.join(format!("{}-quick", package.folder));
        let mut quick = self.command(files, &out);
        quick.args(["--timeout", "40"]).env("PROPTEST_CASES", QUICK_CASES);
        quick.args(package.quick.iter().map(|argument| format!("--cargo-arg={argument}")));
        quick.args(["--", "--"]).args(package.slow.iter().flat_map(|test| ["--skip", test]));
        let left = unnoticed(quick, &out)?;
        if left.is_empty() {
            return Ok(left);
        }
        process::step(format_args!("all tests on the {} mutants that are left", left.len()));
        let out = self.folder.join(format!("{}-all", package.folder));
        let mut all = self.command(files, &out);
        all.args(["--timeout", "600"]);
        all.args(left.iter().map(|name| format!("--re=^{}$", regex::escape(name))));
        unnoticed(all, &out)
    }

    fn command(&self, files: &[&str], out: &Path) -> Command {
        let mut mutants = Command::new(&self.program);
        forget_outer_cargo(&mut mutants);
        mutants.current_dir(self.folder.join("sources")).args(["mutants", "--in-place"]);
        mutants.args(["--no-shuffle", "--colors", "never", "--annotations", "none", "--output"]);
        mutants.arg(out).args(files.iter().flat_map(|file| ["--file", file]));
        mutants.env("CARGO_TARGET_DIR", self.folder.join("build"));
        // Without it, linking takes longer than compiling.
        mutants.env("CARGO_PROFILE_DEV_DEBUG", "0");
        mutants
    }
}

/// Runs cargo-mutants and returns the names of the mutants that no test noticed. A mutant that
/// hangs is noticed.
fn unnoticed(mut mutants: Command, out: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(out)?;
    let status = mutants.status().context("cannot start `cargo-mutants`")?;
    // 2 and 3: some mutants survived or timed out.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("cargo-mutants failed ({status})");
    }
    let outcomes = fs::read_to_string(out.join("mutants.out/outcomes.json"))?;
    missed(&serde_json::from_str(&outcomes)?)
}

/// The Rust files among `listed`, and in the folders among them, that `wanted` selects.
fn chosen(workspace: &Workspace, listed: &[String], wanted: &[String]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for path in listed {
        if workspace.root.join(path).is_dir() {
            sources(&workspace.root, path, &mut files)?;
        } else if workspace.root.join(path).is_file() {
            files.push(path.clone());
        } else {
            bail!("{LIST} names {path}, which does not exist");
        }
    }
    if let Some(name) = wanted.iter().find(|name| !files.iter().any(|file| file.contains(*name))) {
        bail!("no file in {LIST} contains `{name}`; files: {}", files.join(", "));
    }
    files.retain(|file| wanted.is_empty() || wanted.iter().any(|name| file.contains(name)));
    Ok(files)
}

fn sources(root: &Path, folder: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            sources(root, &path, files)?;
        } else if path.ends_with(".rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// The names of the mutants that no test noticed, in the output of cargo-mutants.
fn missed(outcomes: &Value) -> Result<Vec<String>> {
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

/// The mutants of such names, which are `FILE:LINE:COLUMN: DESCRIPTION`.
fn counted(names: &[String]) -> Result<Mutants> {
    let mut mutants = Mutants::new();
    for name in names {
        let mut parts = name.splitn(4, ':');
        let (file, description) = (parts.next(), parts.nth(2));
        let (file, description) = file.zip(description).context("a name has a place")?;
        *mutants.entry((file.to_owned(), description.trim().to_owned())).or_default() += 1;
    }
    Ok(mutants)
}

fn expected(list: &[Survivor], files: &[String]) -> Mutants {
    let mut expected = Mutants::new();
    for survivor in list.iter().filter(|survivor| files.contains(&survivor.file)) {
        let key = (survivor.file.clone(), survivor.mutant.clone());
        *expected.entry(key).or_default() += survivor.count;
    }
    expected
}

fn differences(survived: &Mutants, expected: &Mutants) -> Vec<String> {
    let count = |mutants: &Mutants, key| mutants.get(key).copied().unwrap_or_default();
    let keys = survived.keys().chain(expected.keys().filter(|key| !survived.contains_key(*key)));
    keys.filter_map(|key| {
        let (found, listed) = (count(survived, key), count(expected, key));
        let (file, mutant) = key;
        match found.cmp(&listed) {
            std::cmp::Ordering::Greater => Some(format!("survives: {file}: {mutant}")),
            std::cmp::Ordering::Less => Some(format!("no longer survives: {file}: {mutant}")),
            std::cmp::Ordering::Equal => None,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(summary: &str, name: &str) -> Value {
        json!({"summary": summary, "scenario": {"Mutant": {"name": name}}})
    }

    #[test]
    fn survivors_are_compared_by_file_text_and_number() {
        let outcomes = json!({"outcomes": [
            {"summary": "Success", "scenario": "Baseline"},
            outcome("MissedMutant", "a.rs:1:2: replace < with <= in X::f"),
            outcome("MissedMutant", "a.rs:9:2: replace < with <= in X::f"),
            outcome("CaughtMutant", "a.rs:3:4: replace g -> Result<A::B> with Ok(())"),
            outcome("MissedMutant", "b.rs:5:6: replace h with ()"),
        ]});
        let survived = counted(&missed(&outcomes).unwrap()).unwrap();
        let survivor = |file: &str, mutant: &str, count| Survivor {
            file: file.into(),
            mutant: mutant.into(),
            count,
            reason: "a reason".into(),
        };
        let files = ["a.rs".to_owned(), "b.rs".to_owned()];
        let both = survivor("b.rs", "replace h with ()", 1);
        let list = [survivor("a.rs", "replace < with <= in X::f", 2), both];
        assert_eq!(differences(&survived, &expected(&list, &files)), Vec::<String>::new());

        let list = [
            survivor("a.rs", "replace < with <= in X::f", 1),
            survivor("b.rs", "replace i with ()", 1),
            survivor("c.rs", "replace j with ()", 1),
        ];
        assert_eq!(
            differences(&survived, &expected(&list, &files)),
            [
                "survives: a.rs: replace < with <= in X::f",
                "survives: b.rs: replace h with ()",
                "no longer survives: b.rs: replace i with ()",
            ]
        );
    }

    #[test]
    fn the_list_names_files_that_exist() {
        let workspace = Workspace::find().unwrap();
        let list = List::parse(include_str!("survivors.toml")).unwrap();
        let files = chosen(&workspace, &list.files, &[]).unwrap();
        for file in &files {
            let package = |package: &Package| file.starts_with(&format!("{}/", package.folder));
            assert_eq!(list.package.iter().filter(|one| package(one)).count(), 1, "{file}");
        }
        assert!(chosen(&workspace, &list.files, &["no such file".into()]).is_err());
        for Survivor { file, .. } in &list.survivor {
            assert!(files.contains(file), "{file}");
        }
    }
}
