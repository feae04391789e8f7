//! Runs other programs.

use std::{
    env,
    fmt::Display,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, bail};

/// Announces the next step.
pub(crate) fn step(text: impl Display) {
    eprintln!("==> {text}");
}

/// Runs a program on our terminal until it exits.
///
/// # Errors
/// The program cannot be started or exits with a code other than zero.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a program silently and returns its standard output.
///
/// # Errors
/// The program cannot be started or fails; the error is the line of its output that says why.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let why = complaint(&errors).or_else(|| complaint(&text)).map(str::to_owned);
    Err(anyhow!(why.unwrap_or_else(|| output.status.to_string())))
}

/// Runs a program, passes each line of its standard output to `line`, and returns whether it
/// succeeded.
///
/// # Errors
/// The program cannot be started or its output cannot be read.
pub(crate) fn each_line(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| cannot_start(command))?;
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut bytes = Vec::new();
        while stdout.read_until(b'\n', &mut bytes)? > 0 {
            line(&String::from_utf8_lossy(&bytes));
            bytes.clear();
        }
    }
    Ok(child.wait()?.success())
}

/// Copies another program's output to ours.
///
/// # Errors
/// Our output is closed.
pub(crate) fn pass_on(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Replaces this process by another program, which then gets our signals and sets our exit code.
/// Returns only if the program cannot be started.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn exec(command: &mut Command) -> Result<()> {
    let error = std::os::unix::process::CommandExt::exec(command);
    Err(error).with_context(|| cannot_start(command))
}

/// The executable file that a shell would run for that name.
pub(crate) fn find_in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

/// Whether this is an executable file.
pub(crate) fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The line that says why a program failed: the first that mentions an error, since the rest is
/// mostly advice and traces, or else the last.
fn complaint(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_error = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        (lower.contains("error") && !lower.starts_with("warning")) || line.starts_with("E: ")
    };
    lines.clone().find(is_error).or_else(|| lines.next_back())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().to_string_lossy())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words
        .enumerate()
        // The program's folder is noise.
        .map(|(index, word)| match (index, Path::new(word).file_name()) {
            (0, Some(name)) => name.to_string_lossy(),
            _ => word.to_string_lossy(),
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_line_is_the_complaint() {
        let pip = "WARNING: Retrying after NewConnectionError\nERROR: No matching version\nhelp";
        assert_eq!(complaint(pip), Some("ERROR: No matching version"));
        let npm = "npm error code ECONNREFUSED\nnpm error syscall connect\n\n";
        assert_eq!(complaint(npm), Some("npm error code ECONNREFUSED"));
        let apt = "W: Some index is old\nE: Unable to locate package\nE: Other";
        assert_eq!(complaint(apt), Some("E: Unable to locate package"));
        assert_eq!(complaint(" \n"), None);
    }

    #[test]
    fn otherwise_the_last_line_is_the_complaint() {
        let error = output(
            Command::new("sh").args(["-c", "echo first >&2; echo last >&2; echo >&2; exit 3"]),
        );
        assert_eq!(error.unwrap_err().to_string(), "last");
        let error = output(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "exit status: 3");
        let error = output(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
    }

    #[test]
    fn a_failed_run_names_the_command() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3` failed (exit status: 3)");
    }

    #[test]
    fn lines_arrive_one_by_one_even_without_a_last_newline() {
        let mut seen = Vec::new();
        let ok = each_line(Command::new("printf").arg(r"a\nb"), |line| seen.push(line.to_owned()));
        assert!(ok.unwrap());
        assert_eq!(seen, ["a\n", "b"]);
    }

    #[test]
    fn only_programs_are_found() {
        assert!(find_in_path("sh").is_some_and(|path| is_program(&path)));
        assert_eq!(find_in_path("no-such-program"), None);
        assert!(!is_program(Path::new("/")));
    }
}
