//! Where values come from: flags before environment before file before default, for each value
//! alone.

use std::{collections::BTreeMap, path::Path};

use super::{
    Problem, Problems, RollupKind,
    environment::{self, CONFIG_VARIABLE, Environment},
    file,
    go_proxy::{self, ImportedSettings},
    parse,
    reference::Part,
    settings::{SETTINGS, Setting},
    value::{Source, Value},
};

/// The setting that names the rollup's kind.
const KIND: &str = "rollup";

/// The value of each setting that has one, not yet parsed.
#[derive(Debug, Default)]
pub struct Values {
    values: BTreeMap<&'static str, Value>,
    notes: Vec<String>,
    /// What was wrong with the sources themselves.
    pub(super) problems: Problems,
}

impl Values {
    /// Gathers all values. `flags` are those that were given, by name: a setting's, or a member's
    /// of the Go proxy. `config` is the file named by flag; else `FINALITY_CONFIG` may name one. An
    /// environment variable that begins like ours and is none is a problem.
    #[must_use]
    pub fn gather(
        flags: &BTreeMap<&'static str, String>,
        config: Option<&Path>,
        environment: &Environment,
    ) -> Self {
        let config =
            config.map(Path::to_owned).or_else(|| environment.get(CONFIG_VARIABLE).map(Into::into));
        let (mut file, of_go_proxy) = config.as_deref().map(file::read).unwrap_or_default();
        let mut old_flags = ImportedSettings::from_flags(flags);
        let kind = Setting::named(KIND).and_then(|kind| {
            let sources = (flags, &old_flags, environment, &file);
            found(kind, sources)
        });
        let is_nitro = kind.is_some_and(|(kind, _)| parse::rollup(&kind) == Ok(RollupKind::Nitro));
        file.is_of_kind(is_nitro);
        old_flags.is_of_kind(is_nitro);
        let of_go_proxy = of_go_proxy || !old_flags.values.is_empty();
        let mut gathered = Self::default();
        for taken in [&old_flags, &file] {
            gathered.notes.extend(taken.notes.iter().cloned());
            taken.problems.iter().for_each(|problem| gathered.problems.add(problem.clone()));
        }
        for name in environment.unknown() {
            let text = match environment::nearest(name) {
                Some(variable) => format!("unknown setting; did you mean {variable}?"),
                None => "unknown setting".into(),
            };
            gathered.problems.add(Problem::of(name, Some(Source::Environment), text));
        }
        for setting in SETTINGS {
            let old_flag = old_flags.values.get(setting.name);
            if let (Some(_), Some((_, source))) = (flags.get(setting.name), old_flag) {
                let text = format!("also set by {source}");
                gathered.problems.add(Problem::of(setting.name, Some(Source::Flag), text));
            }
            let default = || match setting.default? {
                _ if of_go_proxy && setting.name == "store_path" => {
                    Some((go_proxy::STORE_PATH.to_owned(), Source::GoDefault))
                }
                default => Some((default.to_owned(), Source::Default)),
            };
            let found = found(setting, (flags, &old_flags, environment, &file)).or_else(default);
            let Some((text, source)) = found else { continue };
            match resolve(setting, text, environment) {
                Ok((text, parts)) => {
                    gathered.values.insert(setting.name, Value { text, source, parts });
                }
                Err(text) => gathered.problems.add(Problem::of(setting.name, Some(source), text)),
            }
        }
        gathered.choose_batcher_source();
        if is_nitro {
            gathered.note_parent_chain();
        }
        gathered
    }

    /// What the operator should know of values that were not used or are kept for the Go proxy's
    /// sake.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }

    /// The value of a setting, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The Go proxy wants both a batcher and the contract, of which one counts here: what is given
    /// by a name of ours, else the contract, which knows the whole history.
    fn choose_batcher_source(&mut self) {
        const LISTED: &str = "batcher_addresses";
        const CONTRACT: &str = "batch_authenticator_address";
        let is_old = |name: &str| self.get(name).map(|value| value.source.is_go_proxy());
        let (out, why) = match (is_old(LISTED), is_old(CONTRACT)) {
            (Some(true), Some(_)) => (
                LISTED,
                "the BatchAuthenticator contract lists the authorized batchers; if it keeps no \
                 history, set --batcher-addresses",
            ),
            (Some(false), Some(true)) => {
                (CONTRACT, "batcher_addresses lists the authorized batchers")
            }
            _ => return,
        };
        if let Some(value) = self.values.remove(out) {
            self.notes.push(format!("{out} ({}) is ignored: {why}", value.source));
        }
    }

    /// The Go proxy knows one chain below Nitro, that of the bridge. Here Ethereum may be another.
    fn note_parent_chain(&mut self) {
        // The flag of `l1_rpc` has the same name there.
        let is_old = |name: &str| self.get(name).is_some_and(|value| value.source.is_go_proxy());
        let l1_rpc = self.get("l1_rpc").filter(|_| is_old("l1_rpc") || is_old("bridge_address"));
        if let (Some(value), None) = (l1_rpc, self.get("parent_rpc")) {
            self.notes.push(format!(
                "l1_rpc ({}) is taken for both chains: if the bridge is not on Ethereum, set \
                 parent_rpc to its chain and l1_rpc to Ethereum",
                value.source.describe("l1_rpc")
            ));
        }
    }
}

/// The value of a setting by the first source that has it, if it is not left at its default.
fn found(
    setting: &Setting,
    (flags, old_flags, environment, file): (
        &BTreeMap<&'static str, String>,
        &ImportedSettings,
        &Environment,
        &ImportedSettings,
    ),
) -> Option<(String, Source)> {
    let flag = flags.get(setting.name).map(|text| (text.clone(), Source::Flag));
    let variable = || Some((environment.get(&setting.variable())?.to_owned(), Source::Environment));
    flag.or_else(|| old_flags.values.get(setting.name).cloned())
        .or_else(variable)
        .or_else(|| file.values.get(setting.name).cloned())
}

/// Replaces references to variables and files by what they name; the second list has the elements.
fn resolve(
    setting: &Setting,
    text: String,
    environment: &Environment,
) -> Result<(String, Vec<Part>), String> {
    if !setting.form.secret {
        return Ok((text, Vec::new()));
    }
    let elements: Vec<_> =
        if setting.form.list { parse::list(&text).collect() } else { vec![text.as_str()] };
    let parts = elements.into_iter().map(|element| Part::of(element, environment));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
    Ok((texts.join(","), parts))
}
