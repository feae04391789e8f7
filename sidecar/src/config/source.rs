//! Where values come from: flags before environment before file before default, for each value alone.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    Problem, Problems, parse,
    settings::{SETTINGS, Setting},
};

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In the configuration file.
    File(PathBuf),
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
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The value of each setting that has one, not yet parsed.
#[derive(Debug, Default)]
pub struct Values {
    values: BTreeMap<&'static str, Value>,
    /// What was wrong with the sources themselves.
    pub(super) problems: Problems,
}

/// The environment variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "FINALITY_CONFIG";

impl Values {
    /// Gathers all values. `config` is the file named by flag; else `FINALITY_CONFIG` may name one. An
    /// environment variable that is empty counts as not set.
    #[must_use]
    pub fn gather(
        flags: &BTreeMap<&'static str, String>,
        config: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let mut gathered = Self::default();
        let config =
            config.map(Path::to_owned).or_else(|| environment(CONFIG_VARIABLE).map(Into::into));
        let file = config.as_deref().map(|path| gathered.read_file(path)).unwrap_or_default();
        for setting in SETTINGS {
            let flag = flags.get(setting.name).map(|text| (text.clone(), Source::Flag));
            let variable = || Some((environment(&setting.variable())?, Source::Environment));
            let member = || {
                Some((
                    file.get(setting.name)?.clone(),
                    Source::File(config.clone().unwrap_or_default()),
                ))
            };
            let default = || Some((setting.default?.to_owned(), Source::Default));
            let Some((text, source)) = flag.or_else(variable).or_else(member).or_else(default)
            else {
                continue;
            };
            match resolve(setting, &text, &environment) {
                Ok(text) => {
                    gathered.values.insert(setting.name, Value { text, source });
                }
                Err(text) => gathered.problems.add(Problem::of(setting.name, Some(source), text)),
            }
        }
        gathered
    }

    /// The value of a setting, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The members of the file as text. What is wrong goes to the problems.
    fn read_file(&mut self, path: &Path) -> BTreeMap<String, String> {
        let mut add = |name: &str, text: String| {
            self.problems.add(Problem::of(name, Some(Source::File(path.to_owned())), text));
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                add("config", format!("cannot be read: {error}"));
                return BTreeMap::new();
            }
        };
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                // The error's own text shows the line, and with it perhaps a secret.
                let start = error.span().map_or(0, |span| span.start);
                let before = text.as_bytes().iter().take(start);
                let line = 1 + before.filter(|byte| **byte == b'\n').count();
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                add("config", format!("not TOML: line {line}: {message}"));
                return BTreeMap::new();
            }
        };
        let mut members = BTreeMap::new();
        for (name, value) in table {
            match Setting::named(&name) {
                None => add(&name, "unknown setting".into()),
                Some(setting) => match as_text(setting, &value) {
                    Some(text) => drop(members.insert(name, text)),
                    None => add(
                        &name,
                        format!("must be {}, not a {}", expected(setting), value.type_str()),
                    ),
                },
            }
        }
        members
    }
}

const fn expected(setting: &Setting) -> &'static str {
    if setting.list { "an array of strings" } else { "a string or a whole number" }
}

fn as_text(setting: &Setting, value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(elements) if setting.list => {
            let texts: Option<Vec<_>> = elements.iter().map(toml::Value::as_str).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

/// Replaces references to variables and files by what they name.
fn resolve(
    setting: &Setting,
    text: &str,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    if !setting.secret {
        return Ok(text.to_owned());
    }
    if setting.list {
        let elements = parse::list(text).map(|element| resolve_one(element, environment));
        return Ok(elements.collect::<Result<Vec<_>, _>>()?.join(","));
    }
    resolve_one(text, environment)
}

fn resolve_one(
    text: &str,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    if let Some(name) = text.strip_prefix("env:") {
        return environment(name)
            .ok_or_else(|| format!("the environment variable {name} is not set"));
    }
    if let Some(path) = text.strip_prefix("file:") {
        return std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .map_err(|error| format!("the file {path} cannot be read: {error}"));
    }
    Ok(text.to_owned())
}

impl Source {
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
            Self::Default => f.write_str("default"),
        }
    }
}
