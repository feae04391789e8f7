//! One build of a package with many of its mutants.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Mutant, Package, Tool, embed, quick::Quick, trial::Trial};
use crate::{process, workspace::forget_outer_cargo};

/// The tests of a package, built with its mutants.
#[derive(Debug)]
pub(super) struct Program {
    place: Place,
    tests: Vec<PathBuf>,
    slow: Vec<String>,
    /// What the changed files had before.
    originals: Vec<(PathBuf, String)>,
    /// The numbers of the mutants that it has.
    pub(super) numbers: BTreeSet<usize>,
    /// The numbers of those that compile nowhere.
    pub(super) impossible: BTreeSet<usize>,
}

/// Where a package is built.
#[derive(Debug)]
struct Place {
    sources: PathBuf,
    build: PathBuf,
    folder: PathBuf,
    package: String,
}

/// A file that is mutated.
struct Mutated<'a> {
    name: &'a str,
    original: String,
    /// By number, those that compile in it as far as is known.
    mutants: BTreeMap<usize, &'a Mutant>,
}

/// An error of the compiler.
struct Problem {
    file: String,
    line: usize,
    text: String,
}

impl Program {
    /// Builds it, without the mutants that do not compile there.
    ///
    /// # Errors
    /// What is left does not compile either.
    pub(super) fn build(tool: &Tool, package: &Package, mutants: &[Mutant]) -> Result<Self> {
        let place = Place {
            sources: tool.sources.clone(),
            build: tool.build.clone(),
            folder: tool.sources.join(&package.folder),
            package: mutants.first().context("no mutants")?.package.clone(),
        };
        let root = place.folder.join("src/lib.rs");
        let text = fs::read_to_string(&root)?;
        fs::write(&root, format!("{text}{}", embed::CHOICE))?;
        let mut files = BTreeMap::<_, Mutated<'_>>::new();
        for (number, mutant) in mutants.iter().enumerate() {
            let name = mutant.file.as_str();
            if !files.contains_key(name) {
                let original = fs::read_to_string(place.sources.join(name))?;
                files.insert(name, Mutated { name, original, mutants: BTreeMap::new() });
            }
            files.entry(name).and_modify(|file| {
                file.mutants.insert(number, mutant);
            });
        }
        let mut originals = vec![(root, text)];
        originals.extend(
            files.values().map(|file| (place.sources.join(file.name), file.original.clone())),
        );
        let built = place.without_problems(package, mutants, files.into_values().collect())?;
        Ok(Self { originals, ..built })
    }

    /// Takes the mutants out of the sources.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn restore(&self) -> Result<()> {
        self.originals.iter().try_for_each(|(path, text)| Ok(fs::write(path, text)?))
    }

    /// The quick tests.
    ///
    /// # Errors
    /// They fail without a mutant.
    pub(super) fn quick(&self) -> Result<Quick> {
        Quick::new(&self.tests, &self.slow, &self.place.folder)
    }

    /// The command that runs all tests of the package, and how.
    ///
    /// # Errors
    /// They fail without a mutant.
    pub(super) fn all(&self) -> Result<(Trial, Vec<OsString>)> {
        let words = ["cargo", "test", "--package", &self.place.package];
        let command: Vec<_> = words.into_iter().map(OsString::from).collect();
        let environment = self.place.environment().into();
        Ok((Trial::new(self.place.sources.clone(), environment, &command)?, command))
    }
}

impl Place {
    /// Builds again and again, each time without the mutants that did not compile.
    fn without_problems(
        self,
        package: &Package,
        mutants: &[Mutant],
        mut files: Vec<Mutated<'_>>,
    ) -> Result<Program> {
        // Functions that the compiler calls stay `const`.
        let mut constant = BTreeSet::new();
        let mut impossible = BTreeSet::new();
        loop {
            let mut numbers = BTreeSet::new();
            let mut texts = BTreeMap::new();
            for Mutated { name, original, mutants } in &files {
                let new = embed::embed(original, mutants, &constant)
                    .with_context(|| (*name).to_owned())?;
                let path = self.sources.join(name);
                if fs::read_to_string(&path)? != new.source {
                    fs::write(&path, &new.source)?;
                }
                numbers.extend(new.numbers);
                impossible.extend(new.impossible);
                texts.insert(*name, new.source);
            }
            let (tests, problems) = self.compile(&package.quick)?;
            if problems.is_empty() {
                let slow = package.slow.clone();
                let originals = Vec::new();
                return Ok(Program { place: self, tests, slow, originals, numbers, impossible });
            }
            for problem in problems {
                if let Some(function) = called_by_compiler(&problem.text) {
                    constant.insert(function);
                    continue;
                }
                let text = texts.get(problem.file.as_str()).map_or("", String::as_str);
                let wrong = embed::numbers_at(text, problem.line);
                if wrong.is_empty() {
                    bail!("{}", problem.text);
                }
                for Mutated { mutants, .. } in &mut files {
                    mutants.retain(|number, _| !wrong.contains(number));
                }
                let is_value = |number: &usize| mutants.get(*number).is_some_and(Mutant::is_value);
                let line = text.lines().nth(problem.line.saturating_sub(1)).unwrap_or_default();
                // Of types that do not have the operator.
                let is_impossible =
                    |number: &usize| is_value(number) || problem.text.contains("error[E0369]");
                impossible.extend(embed::numbers_at(line, 1).into_iter().filter(is_impossible));
            }
        }
    }

    /// Builds the quick tests, and returns them and what is wrong.
    fn compile(&self, quick: &[String]) -> Result<(Vec<PathBuf>, Vec<Problem>)> {
        let mut cargo = Command::new("cargo");
        forget_outer_cargo(&mut cargo);
        cargo.current_dir(&self.sources).envs(self.environment());
        cargo.args(["test", "--quiet", "--no-run", "--message-format=json"]);
        cargo.args(["--package", &self.package]).args(quick);
        let (mut tests, mut problems) = (Vec::new(), Vec::new());
        let ok = process::each_line(&mut cargo, |line| {
            let Ok(message) = serde_json::from_str::<Value>(line) else { return };
            if message.pointer("/profile/test") == Some(&true.into()) {
                let executable = message.get("executable").and_then(Value::as_str);
                tests.extend(executable.map(PathBuf::from));
            }
            problems.extend(message.get("message").and_then(problem));
        })?;
        if ok != problems.is_empty() {
            bail!("the build failed");
        }
        Ok((tests, problems))
    }

    fn environment(&self) -> [(&'static str, OsString); 2] {
        // Without debug information, linking does not take longer than compiling.
        [("CARGO_TARGET_DIR", self.build.clone().into()), ("CARGO_PROFILE_DEV_DEBUG", "0".into())]
    }
}

/// The name of the function that should be `const`, if that is the error.
fn called_by_compiler(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("error[E0015]: cannot call non-const ")?;
    let (path, _) = rest.split_once('`')?.1.split_once('`')?;
    let name = path.rsplit("::").next()?;
    (!name.starts_with("__mutant")).then(|| name.to_owned())
}

fn problem(message: &Value) -> Option<Problem> {
    if message.get("level")?.as_str()? != "error" {
        return None;
    }
    let primary = |span: &&Value| span.get("is_primary") == Some(&true.into());
    let span = message.get("spans")?.as_array()?.iter().find(primary)?;
    Some(Problem {
        file: span.get("file_name")?.as_str()?.to_owned(),
        line: usize::try_from(span.get("line_start")?.as_u64()?).ok()?,
        text: message.get("rendered")?.as_str()?.to_owned(),
    })
}
