//! The quick tests of a program: on a mutant run those that come to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    QUICK_CASES, embed,
    trial::{Outcome, Trial},
};

/// How many tests run first: those that come to the fewest mutants are the likeliest to notice.
/// Each further run has twice as many, so that an endless loop is not waited for as long as all
/// take.
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
    trial: Trial,
    /// By test, how long it takes.
    times: BTreeMap<String, Duration>,
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
            for (words, usual) in tests.commands(mutant) {
                let outcome = tests.trial.run(&words, usual, mutant)?;
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
        let mut one_by_one = words.clone();
        one_by_one.push("--test-threads=1".into());
        let trial = Trial::new(folder.to_owned(), environment, &one_by_one)?;
        let reaching = reaching(&fs::read_to_string(record.path())?, &names(&words)?)?;
        let times = trial.times().map(|(test, time)| (test.to_owned(), time)).collect();
        Ok(Self { words, trial: trial.without(embed::REACHED), times, reaching })
    }

    /// The commands for a mutant, and how long each takes without it.
    fn commands(&self, mutant: usize) -> Vec<(Vec<OsString>, Duration)> {
        match self.reaching.get(&mutant) {
            None => Vec::new(),
            Some(None) => vec![(self.words.clone(), self.trial.usual())],
            Some(Some(tests)) => {
                let command = |tests: &[String]| {
                    let words = self.words.iter().cloned().chain(["--exact".into()]);
                    let words = words.chain(tests.iter().map(OsString::from)).collect();
                    let times = tests.iter().filter_map(|test| self.times.get(test));
                    (words, times.sum())
                };
                portions(tests).map(command).collect()
            }
        }
    }
}

/// Splits tests into portions, each twice as long as the one before.
fn portions(mut tests: &[String]) -> impl Iterator<Item = &[String]> {
    let mut length = FIRST;
    std::iter::from_fn(move || {
        let (portion, rest) = tests.split_at(tests.len().min(length));
        (tests, length) = (rest, length.saturating_mul(2));
        (!portion.is_empty()).then_some(portion)
    })
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

    #[test]
    fn every_test_is_in_one_portion() {
        let tests: Vec<_> = (0..30).map(|number: u32| number.to_string()).collect();
        let lengths: Vec<_> = portions(&tests).map(<[String]>::len).collect();
        assert_eq!(lengths, [8, 16, 6]);
        assert_eq!(portions(&tests).collect::<Vec<_>>().concat(), tests);
    }
}
