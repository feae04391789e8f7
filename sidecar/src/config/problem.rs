//! What is wrong with a configuration: all of it at once, one line each.

use std::fmt;

use super::value::Source;

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, or another name in a source.
    pub setting: String,
    /// Where the value came from; none when it is missing.
    pub source: Option<Source>,
    /// What is wrong.
    pub text: String,
}

impl Problem {
    pub(super) fn of(setting: &str, source: Option<Source>, text: impl Into<String>) -> Self {
        Self { setting: setting.to_owned(), source, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, source, text } = self;
        match source {
            Some(source) => write!(f, "{setting} ({}): {text}", source.describe(setting)),
            None => write!(f, "{setting}: {text}"),
        }
    }
}

/// Everything that is wrong with a configuration; shown one line each.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Puts them in another order; equals stay in theirs.
    pub(super) fn sort_by(&mut self, place: impl Fn(&Problem) -> Option<usize>) {
        self.0.sort_by_key(place);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
