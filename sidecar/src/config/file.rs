//! The configuration file: TOML, or the Go proxy's JSON.

use std::path::Path;

use super::{Problem, Setting, go_proxy::ImportedSettings, value::Source};

/// The values of a file. An object in braces is a file of the Go proxy; no TOML begins like that.
pub(super) fn read(path: &Path) -> (ImportedSettings, bool) {
    let problem =
        |name: &str, text: String| Problem::of(name, Some(Source::File(path.to_owned())), text);
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim_start().starts_with('{') => {
            (ImportedSettings::from_file(&text, path), true)
        }
        Ok(text) => (read_toml(&text, path), false),
        Err(error) => {
            let mut taken = ImportedSettings::default();
            taken.problems.push(problem("config", format!("cannot read the file: {error}")));
            (taken, false)
        }
    }
}

fn read_toml(text: &str, path: &Path) -> ImportedSettings {
    let mut taken = ImportedSettings::default();
    let source = Source::File(path.to_owned());
    let mut add = |name: &str, text: String| {
        taken.problems.push(Problem::of(name, Some(source.clone()), text));
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            // The error's own text shows the line, and with it perhaps a secret.
            let start = error.span().map_or(0, |span| span.start);
            let before = text.as_bytes().iter().take(start);
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            add("config", format!("invalid TOML at line {line}: {message}"));
            return taken;
        }
    };
    for (name, value) in table {
        match Setting::named(&name) {
            None => add(&name, "unknown setting".into()),
            Some(setting) => match as_text(setting, &value) {
                Some(text) => drop(taken.values.insert(setting.name, (text, source.clone()))),
                None => add(&name, format!("must be {}, not {}", expected(setting), kind(&value))),
            },
        }
    }
    taken
}

const fn expected(setting: &Setting) -> &'static str {
    if setting.form.list {
        "a string or an array of strings"
    } else {
        "a string, a number or a boolean"
    }
}

/// The type of a value, as a person says it.
fn kind(value: &toml::Value) -> String {
    match value {
        toml::Value::Array(elements) => match elements.iter().find(|element| !element.is_str()) {
            Some(other) => format!("an array with {}", kind(other)),
            None => "an array".into(),
        },
        toml::Value::Integer(_) => "a whole number".into(),
        other => format!("a {}", other.type_str()),
    }
}

fn as_text(setting: &Setting, value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Array(elements) if setting.form.list => {
            let texts: Option<Vec<_>> = elements.iter().map(toml::Value::as_str).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}
