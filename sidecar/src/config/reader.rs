//! From text to values: everything that is wrong is collected.

use super::{Problem, Problems, SETTINGS, Setting, Values, settings::ReadValue};

/// Reads values one after the other and collects what is wrong.
pub(super) struct Reader<'a> {
    values: &'a Values,
    problems: Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values) -> Self {
        Self { values, problems: values.problems.clone() }
    }

    /// A value that is wrong beside others.
    pub(super) fn refuse(&mut self, name: &str, text: &str) {
        let source = self.values.get(name).map(|value| value.source.clone());
        self.problems.add(Problem::of(name, source, text));
    }

    /// The result, if nothing was wrong. What is wrong is in the order of the settings.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        self.problems
            .sort_by(|problem| SETTINGS.iter().position(|setting| setting.name == problem.setting));
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }
}

impl ReadValue for Reader<'_> {
    fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let reported = self.problems.iter().any(|problem| problem.setting == name);
        if self.values.get(name).is_none() && !reported {
            let sources = Setting::named(name).map_or_else(String::new, |setting| {
                format!(": set --{}, {} or {name} in the file", setting.flag(), setting.variable())
            });
            self.problems.add(Problem::of(name, None, format!("missing{sources}")));
        }
        self.optional(name, parse)
    }

    fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.values.get(name)?;
        parse(&value.text)
            .map_err(|text| {
                self.problems.add(Problem::of(name, Some(value.source.clone()), text));
            })
            .ok()
    }
}
