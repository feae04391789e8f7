//! Mutation testing of the files that hold rules: a change of the code that no test notices is
//! either in `survivors.toml`, with its reason, or a test is missing.
//!
//! [`tool`] lists the mutants, [`embed`] puts most of them into the sources, each behind a
//! condition, [`program`] builds them at once, and [`quick`] runs the tests that come to each.

mod embed;
mod program;
mod quick;
mod tool;
mod trial;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use self::{
    program::Program,
    tool::{Mutant, Tool},
    trial::Outcome,
};
use crate::{
    process,
    tools::{cache::Cache, crates::CARGO_MUTANTS},
    workspace::Workspace,
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
    /// Whether a test notices it where the machine is fast, or slow, enough: fewer may survive.
    #[serde(default)]
    timing: bool,
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

/// A mutant and the number by which its program knows it.
type Numbered<'a> = (usize, &'a Mutant);

/// Mutates the listed files whose paths contain one of `wanted`, or all if it is empty, and
/// compares the survivors with the list.
///
/// # Errors
/// The survivors differ from the list, or cargo-mutants cannot run.
pub(crate) fn run(workspace: &Workspace, cache: &Cache, wanted: &[String]) -> Result<()> {
    let list = List::parse(&fs::read_to_string(workspace.root.join(LIST)).context(LIST)?)?;
    let files = chosen(workspace, &list.files, wanted)?;
    let mutator = Mutator::prepare(workspace, cache)?;
    let expected = expected(&list.survivor, &files);
    let mut survived = Mutants::new();
    for package in &list.package {
        let folder = format!("{}/", package.folder);
        let files: Vec<&str> =
            files.iter().map(String::as_str).filter(|file| file.starts_with(&folder)).collect();
        if !files.is_empty() {
            survived.extend(counted(&mutator.survivors(package, &files, &expected)?)?);
        }
    }
    let problems = differences(&survived, &expected, &list.survivor);
    if !problems.is_empty() {
        bail!("the survivors differ from {LIST}:\n{}", problems.join("\n"));
    }
    println!("{} survivors, all of them expected", expected.values().sum::<usize>());
    Ok(())
}

/// Works in a copy of the sources that has the same path each time, so that cargo compiles no more
/// than what has changed.
struct Mutator<'a> {
    workspace: &'a Workspace,
    tool: Tool,
}

impl<'a> Mutator<'a> {
    fn prepare(workspace: &'a Workspace, cache: &Cache) -> Result<Self> {
        let folder = workspace.target.join("mutants");
        let (sources, build) = (folder.join("sources"), folder.join("build"));
        let program = CARGO_MUTANTS.find(cache)?;
        Ok(Self { workspace, tool: Tool { program, folder, sources, build } })
    }

    /// The names of the mutants of `files` that no test of the package notices. For those that are
    /// expected, the quick tests suffice.
    fn survivors(
        &self,
        package: &Package,
        files: &[&str],
        expected: &Mutants,
    ) -> Result<Vec<String>> {
        self.workspace.copy_sources(&self.tool.sources)?;
        let mutants = self.tool.mutants(files)?;
        if mutants.is_empty() {
            return Ok(Vec::new());
        }
        process::step(format_args!("{} mutants of {}", mutants.len(), files.join(", ")));
        let program = Program::build(&self.tool, package, &mutants)?;
        let is_other = |(number, _): &(usize, _)| {
            !program.numbers.contains(number) && !program.impossible.contains(number)
        };
        let others = mutants.iter().enumerate().filter(is_other);
        let others: Vec<_> = others.map(|(_, mutant)| mutant.name.as_str()).collect();
        let (one, none) = (program.numbers.len(), program.impossible.len());
        process::step(format_args!(
            "{one} in one build, {} in one each; {none} do not compile",
            others.len()
        ));
        let left = unnoticed_quickly(&program, &mutants)?;
        let (left, mut survivors) = unexpected(left, &[], expected)?;
        if !left.is_empty() {
            process::step(format_args!("all tests on {} mutants that are left", left.len()));
            let (all, command) = program.all()?;
            for (number, mutant) in left {
                if !notices(all.run(&command, all.usual(), number)?, mutant) {
                    println!("survives: {}", mutant.name);
                    survivors.push(mutant.name.clone());
                }
            }
        }
        if !others.is_empty() {
            process::step(format_args!("a build for each of {} mutants", others.len()));
            program.restore()?;
            let left = self.tool.unnoticed_quickly(package, files, &others)?;
            let left = mutants.iter().enumerate().filter(|(_, it)| left.contains(&it.name));
            let (left, found) = unexpected(left.collect(), &survivors, expected)?;
            survivors.extend(found);
            if !left.is_empty() {
                process::step(format_args!("all tests on {} mutants that are left", left.len()));
                let left: Vec<_> = left.iter().map(|(_, mutant)| mutant.name.as_str()).collect();
                survivors.extend(self.tool.survivors(package, files, &left)?);
            }
        }
        Ok(survivors)
    }
}

/// The mutants that no quick test notices.
fn unnoticed_quickly<'a>(program: &Program, mutants: &'a [Mutant]) -> Result<Vec<Numbered<'a>>> {
    process::step(format_args!("the quick tests on {} mutants", program.numbers.len()));
    let quick = program.quick()?;
    let mut left = Vec::new();
    for mutant in mutants.iter().enumerate() {
        if program.numbers.contains(&mutant.0) && !notices(quick.run(mutant.0)?, mutant.1) {
            println!("left: {}", mutant.1.name);
            left.push(mutant);
        }
    }
    Ok(left)
}

/// Separates mutants of which there are more than expected, with those that `survive` already, from
/// the names of the others.
fn unexpected<'a>(
    left: Vec<Numbered<'a>>,
    survive: &[String],
    expected: &Mutants,
) -> Result<(Vec<Numbered<'a>>, Vec<String>)> {
    let names = left.iter().map(|(_, mutant)| mutant.name.clone());
    let found = counted(&names.chain(survive.iter().cloned()).collect::<Vec<_>>())?;
    let (mut more, mut others) = (Vec::new(), Vec::new());
    for (number, mutant) in left {
        let key = key(&mutant.name)?;
        if found.get(&key) > expected.get(&key) {
            more.push((number, mutant));
        } else {
            others.push(mutant.name.clone());
        }
    }
    Ok((more, others))
}

/// Whether a test fails or hangs.
fn notices(outcome: Outcome, mutant: &Mutant) -> bool {
    if outcome == Outcome::Hung {
        println!("hangs: {}", mutant.name);
    }
    outcome != Outcome::Passed
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

/// The mutants of such names.
fn counted(names: &[String]) -> Result<Mutants> {
    let mut mutants = Mutants::new();
    for name in names {
        *mutants.entry(key(name)?).or_default() += 1;
    }
    Ok(mutants)
}

/// File and description of a name, which is `FILE:LINE:COLUMN: DESCRIPTION`.
fn key(name: &str) -> Result<(String, String)> {
    let mut parts = name.splitn(4, ':');
    let (file, description) = (parts.next(), parts.nth(2));
    let (file, description) = file.zip(description).context("a name has a place")?;
    Ok((file.to_owned(), description.trim().to_owned()))
}

fn expected(list: &[Survivor], files: &[String]) -> Mutants {
    let mut expected = Mutants::new();
    for survivor in list.iter().filter(|survivor| files.contains(&survivor.file)) {
        let key = (survivor.file.clone(), survivor.mutant.clone());
        *expected.entry(key).or_default() += survivor.count;
    }
    expected
}

fn differences(survived: &Mutants, expected: &Mutants, list: &[Survivor]) -> Vec<String> {
    let may_be_fewer = |(file, mutant): &(String, String)| {
        list.iter().any(|one| one.timing && one.file == *file && one.mutant == *mutant)
    };
    let count = |mutants: &Mutants, key| mutants.get(key).copied().unwrap_or_default();
    let keys = survived.keys().chain(expected.keys().filter(|key| !survived.contains_key(*key)));
    keys.filter_map(|key| {
        let (found, listed) = (count(survived, key), count(expected, key));
        let (file, mutant) = key;
        match found.cmp(&listed) {
            std::cmp::Ordering::Greater => Some(format!("survives: {file}: {mutant}")),
            std::cmp::Ordering::Less if may_be_fewer(key) => None,
            std::cmp::Ordering::Less => Some(format!("no longer survives: {file}: {mutant}")),
            std::cmp::Ordering::Equal => None,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{tool::missed, *};

    fn outcome(summary: &str, name: &str) -> serde_json::Value {
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
            timing: false,
            reason: "a reason".into(),
        };
        let files = ["a.rs".to_owned(), "b.rs".to_owned()];
        let both = survivor("b.rs", "replace h with ()", 1);
        let list = [survivor("a.rs", "replace < with <= in X::f", 2), both];
        let differences =
            |list: &[Survivor]| super::differences(&survived, &expected(list, &files), list);
        assert_eq!(differences(&list), Vec::<String>::new());

        let list = [
            survivor("a.rs", "replace < with <= in X::f", 1),
            survivor("b.rs", "replace i with ()", 1),
            survivor("c.rs", "replace j with ()", 1),
        ];
        assert_eq!(
            differences(&list),
            [
                "survives: a.rs: replace < with <= in X::f",
                "survives: b.rs: replace h with ()",
                "no longer survives: b.rs: replace i with ()",
            ]
        );

        let timing = |survivor| Survivor { timing: true, ..survivor };
        let list = [
            timing(survivor("a.rs", "replace < with <= in X::f", 3)),
            timing(survivor("b.rs", "replace h with ()", 0)),
        ];
        assert_eq!(differences(&list), ["survives: b.rs: replace h with ()"]);
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
