//! References in place of secrets: `env:NAME` and `file:/path`.

use std::{fmt, fs, path::Path};

use super::environment::Environment;

/// A longer file holds no URL.
const LONGEST_FILE: u64 = 64 * 1024;

/// An element of a value, references resolved. `Debug` does not show the text, which may be a
/// secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// The text.
    pub text: String,
    /// What it was found by, such as `env:NAME`; none if the text itself was given.
    pub reference: Option<String>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl Part {
    /// Resolves an element.
    pub(super) fn of(element: &str, environment: &Environment) -> Result<Self, String> {
        let by = |text| Self { text, reference: Some(element.to_owned()) };
        if let Some(name) = element.strip_prefix("env:") {
            return variable(name, environment).map(by);
        }
        match element.strip_prefix("file:") {
            Some("") => Err("file: is not followed by a path, such as file:/run/secrets/l1".into()),
            Some(path) => read(Path::new(path)).map(by),
            None => Ok(Self { text: element.to_owned(), reference: None }),
        }
    }

    /// The file that it was read from.
    pub(super) fn file(&self) -> Option<&Path> {
        self.reference.as_deref()?.strip_prefix("file:").map(Path::new)
    }
}

fn variable(name: &str, environment: &Environment) -> Result<String, String> {
    if name.is_empty() {
        return Err("env: is not followed by the name of a variable, such as env:L1_URL".into());
    }
    let text = environment
        .get(name)
        .ok_or_else(|| format!("the environment variable {name:?} is not set, or empty"))?;
    one_line(text).map_err(|problem| format!("the environment variable {name:?} {problem}"))
}

/// The one line of a file.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let unreadable = |error| format!("cannot read the file {shown}: {error}");
    let found = fs::metadata(path).map_err(unreadable)?;
    // A pipe without a writer would be waited for.
    if !found.is_file() {
        return Err(format!("{shown} is not a regular file"));
    }
    if found.len() > LONGEST_FILE {
        return Err(format!("the file {shown} is longer than {LONGEST_FILE} bytes"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    one_line(&text).map_err(|problem| format!("the file {shown} {problem}"))
}

fn one_line(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        Err("is empty")
    } else if text.contains(['\n', '\r']) {
        Err("has more than one line; separate several URLs by commas")
    } else {
        Ok(text.to_owned())
    }
}
