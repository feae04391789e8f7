//! A value as it was found, and where.

use std::{fmt, path::PathBuf};

use super::{reference::Part, settings::Setting};

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In the configuration file.
    File(PathBuf),
    /// On the command line, under the Go proxy's name for it.
    GoFlag(String),
    /// In a configuration file of the Go proxy, as this member.
    GoFile(PathBuf, &'static str),
    /// Nowhere, but names of the Go proxy are in use, and this is its default.
    GoDefault,
    /// Nowhere.
    Default,
}

/// A value as text. `Debug` does not show the text, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// The text, references resolved.
    pub text: String,
    /// Where it was found.
    pub source: Source,
    /// The elements of a value that may hold a secret.
    pub parts: Vec<Part>,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Source {
    /// Whether the Go proxy's name for the value was used.
    pub(super) const fn is_go_proxy(&self) -> bool {
        matches!(self, Self::GoFlag(_) | Self::GoFile(..) | Self::GoDefault)
    }

    /// The source as a person names it, for instance `environment FINALITY_L1_RPC`.
    #[must_use]
    pub fn describe(&self, name: &str) -> String {
        let setting = Setting::named(name);
        match (self, setting) {
            (Self::Flag, Some(setting)) => format!("flag --{}", setting.flag()),
            (Self::Environment, Some(setting)) => format!("environment {}", setting.variable()),
            (source, _) => source.to_string(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::GoFlag(flag) => write!(f, "flag --{flag}"),
            Self::GoFile(path, member) => write!(f, "file {}, {member}", path.display()),
            Self::GoDefault => f.write_str("default of the Go proxy, whose names are used"),
            Self::Default => f.write_str("default"),
        }
    }
}
