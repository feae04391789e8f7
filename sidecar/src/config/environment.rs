//! The environment, and which of its variables are ours.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use super::settings::{SETTINGS, Setting};

/// The environment variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "FINALITY_CONFIG";

/// What all of our environment variables begin with.
const PREFIX: &str = "FINALITY_";

/// The environment. A variable that is empty counts as not set. `Debug` shows no values, which may
/// be secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().filter(|(_, text)| !text.is_empty()).collect())
    }
}

impl Environment {
    /// That of this process. What is not UTF-8 is reported like any other bad value, not skipped.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Variables that begin like ours and are none.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &str> {
        let is_known = |name: &str| {
            name == CONFIG_VARIABLE || SETTINGS.iter().any(|setting| setting.variable() == name)
        };
        let ours = self.0.iter().filter(|(name, _)| name.starts_with(PREFIX));
        ours.filter(move |(name, text)| !is_known(name) && !is_service_link(name, text))
            .map(|(name, _)| name.as_str())
    }
}

/// Whether Kubernetes or Docker sets the variable, for a service whose name begins like ours.
fn is_service_link(name: &str, text: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|kind| {
            name.contains("_PORT_") && (name.contains(&format!("{kind}_")) || name.ends_with(kind))
        })
        || (name.ends_with("_PORT") && is_url)
}

/// The variable of ours that a name may be a misspelling of.
pub(super) fn nearest(name: &str) -> Option<String> {
    const FAR: usize = 3;
    let variables = SETTINGS.iter().map(Setting::variable);
    let with_distance = variables.map(|variable| (distance(name, &variable), variable));
    let (distance, variable) = with_distance.min()?;
    (distance <= FAR).then_some(variable)
}

/// How many characters must be inserted, removed or replaced to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, left) in one.bytes().zip(1..) {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), left);
        let mut before = left;
        for (cell, byte) in row.iter_mut().skip(1).zip(other.bytes()) {
            let replaced = diagonal + usize::from(above != byte);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(before + 1);
            before = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}
