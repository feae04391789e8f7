//! The quick tests of a program: on a mutant run those that come to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{
    QUICK_CASES, embed,
    trial::{Outcome, Trial},
};

/// How many tests run first: those that come to the fewest mutants are the likeliest to notice.
const FIRST: usize = 8;

#[derive(Debug)]
pub(super) struct Quick {
    programs: Vec<Tests>,
}

/// The tests of one program.
#[derive(Debug)]
struct Tests {
    /// The program, and the options that leave out slow tests.
    words: Vec<OsString>,
    count: usize,
    trial: Trial,
    /// By mutant, the tests that come to it, or `None` if that is not known.
    reaching: BTreeMap<usize, Option<Vec<String>>>,
}

impl Quick {
    /// Runs the programs without a mutant, to see what each test comes to.
    ///
    /// # Errors
    /// They fail.
    pub(super) fn new(programs: &[PathBuf], slow: &[String], folder: &Path) -> Result<Self> {
        let tests = |program: &PathBuf| Tests::new(program, slow, folder);
        Ok(Self { programs: programs.iter().map(tests).collect::<Result<_>>()? })
    }

    /// What the tests say of the mutant of that number.
    ///
    /// # Errors
    /// They cannot be started.
    pub(super) fn run(&self, mutant: usize) -> Result<Outcome> {
        for tests in &self.programs {
            for (words, share) in tests.commands(mutant) {
                let outcome = tests.trial.run(&words, share, mutant)?;
                if outcome != Outcome::Passed {
                    return Ok(outcome);
                }
            }
        }
        Ok(Outcome::Passed)
    }
}

impl Tests {
    fn new(program: &Path, slow: &[String], folder: &Path) -> Result<Self> {
        let mut words = vec![program.into()];
        words.extend(slow.iter().flat_map(|test| ["--skip".into(), test.into()]));
        let record = tempfile::NamedTempFile::new()?;
        let cases = ("PROPTEST_CASES", QUICK_CASES.into());
        let environment = vec![cases, (embed::REACHED, record.path().into())];
        let trial = Trial::new(folder.to_owned(), environment, &words)?;
        let names = names(&words)?;
        let reaching = reaching(&fs::read_to_string(record.path())?, &names)?;
        Ok(Self { words, count: names.len(), trial: trial.without(embed::REACHED), reaching })
    }

    /// The commands for a mutant, each with its share of the tests.
    fn commands(&self, mutant: usize) -> Vec<(Vec<OsString>, f64)> {
        match self.reaching.get(&mutant) {
            None => Vec::new(),
            Some(None) => vec![(self.words.clone(), 1.0)],
            Some(Some(tests)) => {
                let (first, rest) = tests.split_at(tests.len().min(FIRST));
                let command = |tests: &[String]| {
                    let words = self.words.iter().cloned().chain(["--exact".into()]);
                    let words = words.chain(tests.iter().map(OsString::from)).collect();
                    (words, tests.len() as f64 / self.count as f64)
                };
                [first, rest].into_iter().filter(|tests| !tests.is_empty()).map(command).collect()
            }
        }
    }
}

/// The names of the tests of a program.
fn names(words: &[OsString]) -> Result<BTreeSet<String>> {
    let (program, options) = words.split_first().context("no program")?;
    let mut list = std::process::Command::new(program);
    let list = crate::process::output(list.args(options).args(["--list", "--format=terse"]))?;
    Ok(list.lines().filter_map(|line| Some(line.strip_suffix(": test")?.to_owned())).collect())
}

/// Which tests come to which mutants, by lines of threads and numbers. What another thread comes to
/// may be the work of any test.
fn reaching(
    record: &str,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<usize, Option<Vec<String>>>> {
    let mut pairs = BTreeSet::new();
    let mut breadth = BTreeMap::<_, usize>::new();
    for line in record.lines() {
        let (thread, number) = line.rsplit_once(' ').context("a line of a thread and a number")?;
        if pairs.insert((number.parse::<usize>()?, thread)) {
            *breadth.entry(thread).or_default() += 1;
        }
    }
    let mut reaching = BTreeMap::<_, Option<Vec<_>>>::new();
    for (number, thread) in pairs {
        let tests = reaching.entry(number).or_insert_with(|| Some(Vec::new()));
        match tests {
            Some(tests) if names.contains(thread) => tests.push(thread.to_owned()),
            tests => *tests = None,
        }
    }
    for tests in reaching.values_mut().flatten() {
        tests.sort_by_key(|test| breadth.get(test.as_str()).copied());
    }
    Ok(reaching)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_that_come_to_a_mutant_begin_with_the_most_specific() {
        let names = ["a", "b::c"].map(str::to_owned).into();
        let record = "a 1\na 2\na 3\nb::c 1\nworker 3\na 1\n";
        let found = reaching(record, &names).unwrap();
        assert_eq!(found[&1], Some(vec!["b::c".to_owned(), "a".to_owned()]));
        assert_eq!((found[&2].as_ref().map(Vec::len), &found[&3]), (Some(1), &None));
        assert!(!found.contains_key(&4));
    }
}
