//! The checkout, and calls of cargo in it.

use std::{
    collections::BTreeSet,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// The checkout and its target folder.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// `target`, unless the user moved it.
    pub(crate) target: PathBuf,
}

/// A target that cargo has built.
#[derive(Debug)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    /// The program, if the target is one.
    pub(crate) executable: Option<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
}

impl Workspace {
    /// Asks cargo for the checkout of the current folder.
    ///
    /// # Errors
    /// The current folder is not in a checkout, or cargo's output is not as expected.
    pub(crate) fn find() -> Result<Self> {
        let metadata =
            process::output(cargo_program().args(["metadata", "--no-deps", "--format-version=1"]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("`cargo metadata`")?;
        let path = |member: &str| {
            let text = metadata.get(member).and_then(Value::as_str);
            text.map(PathBuf::from).with_context(|| format!("`cargo metadata` gives no {member}"))
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// Git in the root of the checkout.
    pub(crate) fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.current_dir(&self.root);
        git
    }

    /// Puts the files that are under version control, or could be, in place of a folder. Those
    /// that are there already stay as they are, so that cargo does not compile them again.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn copy_sources(&self, to: &Path) -> Result<()> {
        let mut left = BTreeSet::new();
        files(to, &mut left)?;
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let names = process::output(self.git().args(list))?;
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let source = self.root.join(name);
            // One that is deleted, but not yet for git.
            if !source.is_file() {
                continue;
            }
            let target = to.join(name);
            let is_there = left.remove(&target) && fs::read(&source)? == fs::read(&target)?;
            if !is_there {
                fs::create_dir_all(target.parent().context("a file has a folder")?)?;
                fs::copy(&source, &target).with_context(|| source.display().to_string())?;
            }
        }
        left.iter().try_for_each(fs::remove_file)?;
        Ok(())
    }

    /// Cargo in the root of the checkout, in the environment of a user's shell.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo_program();
        cargo.current_dir(&self.root);
        cargo
    }
}

/// The files in a folder, or none if it does not exist.
fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files(&entry.path(), found)?;
        } else {
            found.insert(entry.path());
        }
    }
    Ok(())
}

/// Runs a build and returns its artifacts.
///
/// # Errors
/// The build fails; cargo has printed why.
pub(crate) fn build(cargo: &mut Command) -> Result<Vec<Artifact>> {
    cargo.arg("--message-format=json-render-diagnostics");
    let mut artifacts = Vec::new();
    let ok = process::each_line(cargo, |line| artifacts.extend(artifact(line)))?;
    if !ok {
        bail!("the build failed");
    }
    Ok(artifacts)
}

/// The program of that name.
///
/// # Errors
/// Cargo built no such program.
pub(crate) fn executable(artifacts: &[Artifact], name: &str) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|artifact| artifact.name == name)
        .find_map(|artifact| artifact.executable.clone())
        .with_context(|| format!("cargo built no program `{name}`"))
}

fn artifact(message: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    let files = message.get("filenames")?.as_array()?.iter();
    Some(Artifact {
        name: message.pointer("/target/name")?.as_str()?.to_owned(),
        executable: message.get("executable")?.as_str().map(PathBuf::from),
        files: files.filter_map(Value::as_str).map(PathBuf::from).collect(),
    })
}

fn cargo_program() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_outer_cargo(&mut cargo);
    cargo
}

/// Removes the variables that the outer `cargo run` has set. They would make build scripts and
/// fingerprints differ from those of a cargo in the user's shell.
pub(crate) fn forget_outer_cargo(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if is_set_by_cargo_run(&name) {
            command.env_remove(name);
        }
    }
    if let Some(paths) = env::var_os("LD_LIBRARY_PATH") {
        match without_toolchain(&paths, &rustup_home()) {
            Some(paths) => command.env("LD_LIBRARY_PATH", paths),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
}

fn is_set_by_cargo_run(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    matches!(
        &*name,
        "CARGO" | "OUT_DIR" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE"
    ) || name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
}

/// The library path without the entries that rustup and `cargo run` prepend: a compiler must not
/// load the libraries of another.
fn without_toolchain(paths: &OsStr, rustup_home: &Path) -> Option<OsString> {
    let toolchains = rustup_home.join("toolchains");
    let built = |path: &Path| path.ends_with("debug") || path.ends_with("debug/deps");
    let kept = env::split_paths(paths).filter(|path| {
        !path.as_os_str().is_empty() && !path.starts_with(&toolchains) && !built(path)
    });
    env::join_paths(kept).ok().filter(|paths| !paths.is_empty())
}

/// rustup's folder.
fn rustup_home() -> PathBuf {
    home("RUSTUP_HOME", ".rustup")
}

/// cargo's folder, with the sources of dependencies.
pub(crate) fn cargo_home() -> PathBuf {
    home("CARGO_HOME", ".cargo")
}

fn home(variable: &str, folder: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(path) if !path.is_empty() => path.into(),
        _ => env::home_dir().unwrap_or_default().join(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_holds_the_sources_and_not_what_was_built() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        Workspace::find().unwrap().copy_sources(&copy).unwrap();
        assert!(copy.join("xtask/src/workspace.rs").is_file());
        assert!(copy.join(".cargo/config.toml").is_file());
        assert!(!copy.join("target").exists() && !copy.join(".git").exists());
    }

    #[test]
    fn variables_of_cargo_run_are_distinguished_from_the_users() {
        for name in
            ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "OUT_DIR"]
        {
            assert!(is_set_by_cargo_run(name.as_ref()), "{name}");
        }
        for name in
            ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_BUILD_JOBS", "PATH"]
        {
            assert!(!is_set_by_cargo_run(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn the_users_libraries_stay_in_the_path() {
        let paths =
            OsStr::new("/c/target/debug:/c/target/debug/deps:/r/toolchains/stable/lib:/opt/lib:");
        assert_eq!(without_toolchain(paths, Path::new("/r")), Some("/opt/lib".into()));
        assert_eq!(
            without_toolchain(OsStr::new("/r/toolchains/stable/lib"), Path::new("/r")),
            None
        );
    }

    #[test]
    fn artifacts_are_read_from_messages() {
        let message = r#"{"reason":"compiler-artifact","target":{"name":"tool"},
            "filenames":["/t/tool"],"executable":"/t/tool"}"#;
        let built = [artifact(message).unwrap()];
        assert_eq!(executable(&built, "tool").unwrap(), Path::new("/t/tool"));
        assert_eq!(built[0].files, [Path::new("/t/tool")]);
        assert!(executable(&built, "other").is_err());
        assert!(artifact(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(artifact("not JSON").is_none());
    }
}
