//! The names of Espresso's Go proxy, so that its flags and its JSON file start the sidecar as they
//! are.
//!
//! All of its versions are known, also where a later one renamed a member. What it has and the
//! sidecar has not becomes a note that says where it went, or a problem when nothing takes its
//! place.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;

use super::{Problem, Setting, value::Source};

/// The Go proxy's default state file.
pub(super) const STORE_PATH: &str = "espresso_store.json";

/// What a name of the Go proxy comes to.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// This setting.
    Setting(&'static str),
    /// Nothing here, for the reason in the note; the value that needs no note is its default there.
    Elsewhere { note: &'static str, default: &'static str },
    /// A switch for Nitro, if it is on.
    Nitro,
}

/// A name of the Go proxy.
#[derive(Debug)]
pub struct Name {
    /// The member of its file, with the object that holds it: `op.batcher_address`.
    pub member: &'static str,
    /// Whether the flag may have no value.
    pub switch: bool,
    meaning: Meaning,
    /// What else takes the value, beside a setting.
    also: Option<&'static str>,
}

impl Name {
    const fn of(member: &'static str, setting: &'static str) -> Self {
        Self::new(member, Meaning::Setting(setting))
    }

    const fn new(member: &'static str, meaning: Meaning) -> Self {
        Self { member, switch: false, meaning, also: None }
    }

    const fn also(mut self, note: &'static str) -> Self {
        self.also = Some(note);
        self
    }

    const fn elsewhere(member: &'static str, default: &'static str, note: &'static str) -> Self {
        Self::new(member, Meaning::Elsewhere { note, default })
    }

    const fn switch(mut self) -> Self {
        self.switch = true;
        self
    }

    /// The flag without its dashes, for instance `op.batcher-address`.
    #[must_use]
    pub fn flag(&self) -> String {
        let flag = self.member.replace('_', "-");
        flag.strip_prefix("ws-").map_or(flag.clone(), |rest| format!("ws.{rest}"))
    }

    /// The setting that takes its place, if one does.
    #[must_use]
    pub const fn setting(&self) -> Option<&'static str> {
        match self.meaning {
            Meaning::Setting(setting) => Some(setting),
            _ => None,
        }
    }

    /// The name, unless its flag is one of ours already.
    fn is_old_flag(&self) -> bool {
        Setting::named(self.member).is_none()
    }
}

/// Every name of the Go proxy's file.
pub const NAMES: &[Name] = &[
    Name::of("full_node_execution_rpc", "node_execution_rpc")
        .also("is also the address of the node's cluster in Envoy, to which clients' requests go"),
    Name::of("op.full_node_consensus_rpc", "node_consensus_rpc"),
    Name::of("l1_rpc", "l1_rpc"),
    Name::of("eth_rpc", "l1_rpc"),
    Name::of("op.l1_rpc", "l1_rpc"),
    Name::of("query_service_url", "query_service_url"),
    Name::of("op.query_service_url", "query_service_url"),
    Name::of("op.light_client_address", "light_client_address"),
    Name::of("op.batch_authenticator_address", "batch_authenticator_address"),
    Name::of("op.batcher_address", "batcher_addresses"),
    Name::of("namespace", "namespace"),
    Name::of("initial_hotshot_height", "initial_hotshot_height"),
    Name::of("store_file_path", "store_path"),
    Name::of("verification_interval", "verification_interval"),
    Name::of("op.verification_interval", "verification_interval"),
    Name::of("log_level", "log_level"),
    Name::of("log_format", "log_format"),
    Name::elsewhere(
        "listen_addr",
        "",
        "clients now connect to Envoy's listener; the sidecar serves the filter on its own \
         listen_addr, set by --listen-addr or FINALITY_LISTEN_ADDR",
    ),
    Name::elsewhere("ws_listen_addr", "", "Envoy's listener accepts WebSocket clients too"),
    Name::elsewhere(
        "ws_full_node_execution_rpc",
        "",
        "Envoy connects to the node; if the node has a separate WebSocket port, add a cluster and a \
         route for it",
    ),
    Name::elsewhere(
        "espresso_tag",
        "espresso",
        "the filter replaces tags; list them under tags in its configuration",
    ),
    Name::elsewhere(
        "max_batch_size",
        "1000",
        "set max_batch_length in the filter's configuration (0 there meant no limit)",
    ),
    Name::elsewhere(
        "max_request_body_size",
        "5242880",
        "set max_body_bytes in the filter's configuration (0 there meant no limit)",
    ),
    Name::elsewhere("finality_poll_interval", "", "finality is read in every verification round"),
    Name::elsewhere(
        "track_batch_latency",
        "false",
        "see espresso_head_lag_blocks in /metrics and lag in /v1/status",
    )
    .switch(),
    Name::elsewhere("op.enable", "true", "the sidecar always verifies").switch(),
    Name::of("mode", "rollup"),
    Name::new("nitro.enable", Meaning::Nitro).switch(),
    Name::of("nitro.bridge_address", "bridge_address"),
    Name::of("nitro.valid_signing_key_addresses", "batcher_addresses"),
    Name::of("nitro.valid_batcher_addresses", "batcher_addresses"),
    Name::of("nitro.namespace", "namespace"),
    Name::of("nitro.initial_hotshot_height", "initial_hotshot_height"),
    Name::elsewhere(
        "nitro.feed_url",
        "",
        "messages are compared with the node's blocks, and no feed is needed",
    ),
    Name::elsewhere("nitro.wait_for_eth_finality", "", NITRO_WAITS).switch(),
    Name::elsewhere("nitro.wait_for_l1_finalization", "", NITRO_WAITS).switch(),
    Name::elsewhere(
        "nitro.eth_log_scan_block_range",
        "",
        "a delayed message is looked for in the blocks of its time",
    ),
];

const NITRO_WAITS: &str = "it is always so here that a block with a delayed message waits for the \
                           parent chain's finality, and the others need not";

/// What starts the names of those that mean something for Nitro alone.
const OF_NITRO: &str = "nitro.";
/// What is of no use for Nitro.
const NOT_OF_NITRO: [&str; 3] =
    ["op.full_node_consensus_rpc", "op.batch_authenticator_address", "op.batcher_address"];

/// The names whose flags the sidecar does not have itself.
pub fn old_flags() -> impl Iterator<Item = &'static Name> {
    NAMES.iter().filter(|name| name.is_old_flag())
}

/// What values under the Go proxy's names come to.
#[derive(Debug, Default)]
pub(super) struct ImportedSettings {
    /// What means something for one kind of rollup, until the kind is known.
    of_one_kind: Vec<(&'static Name, Value, Source)>,
    unknown_of_nitro: Vec<Problem>,
    /// The settings, each with its source.
    pub(super) values: BTreeMap<&'static str, (String, Source)>,
    pub(super) notes: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

impl ImportedSettings {
    /// What the flags of old names come to; `flags` has the members' names.
    pub(super) fn from_flags(flags: &BTreeMap<&'static str, String>) -> Self {
        let mut taken = Self::default();
        for name in old_flags() {
            if let Some(text) = flags.get(name.member) {
                // A list of objects is given in JSON there, too.
                let value = serde_json::from_str(text).ok().filter(Value::is_array);
                let value = value.unwrap_or_else(|| Value::String(text.clone()));
                taken.read(name, value, Source::GoFlag(name.flag()));
            }
        }
        taken
    }

    /// What the text of a file comes to.
    pub(super) fn from_file(text: &str, path: &Path) -> Self {
        let mut taken = Self::default();
        let problem =
            |name: &str, text: String| Problem::of(name, Some(Source::File(path.to_owned())), text);
        let object = match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object,
            // A syntax error quotes nothing of the text, which may hold secrets.
            Err(error) => {
                taken.problems.push(problem("config", format!("invalid JSON: {error}")));
                return taken;
            }
            Ok(_) => return taken,
        };
        let mut members = Vec::new();
        for (name, value) in object {
            let group = ["op", "nitro"].into_iter().find(|group| name.eq_ignore_ascii_case(group));
            match (group, value) {
                (Some(group), Value::Object(inner)) => members.extend(
                    inner.into_iter().map(|(inner, value)| (format!("{group}.{inner}"), value)),
                ),
                (Some(_), Value::Null) => {}
                (Some(group), _) => {
                    taken.problems.push(problem(group, "must be an object".into()));
                }
                (None, value) => members.push((name, value)),
            }
        }
        for (member, value) in members {
            // That program's reader does not look at case.
            let known = NAMES.iter().find(|name| name.member.eq_ignore_ascii_case(&member));
            let Some(name) = known else {
                let text = if Setting::named(&member).is_some() {
                    "not a setting of the Go proxy; write the sidecar's own settings in TOML"
                } else {
                    "not a setting of the Go proxy, which ignores it: remove it"
                };
                let unknown = problem(&member, text.into());
                let of_nitro = member.starts_with(OF_NITRO);
                let problems =
                    if of_nitro { &mut taken.unknown_of_nitro } else { &mut taken.problems };
                problems.push(unknown);
                continue;
            };
            taken.read(name, value, Source::GoFile(path.to_owned(), name.member));
        }
        taken
    }

    fn read(&mut self, name: &'static Name, value: Value, source: Source) {
        let of_nitro = name.member.starts_with(OF_NITRO) && !matches!(name.meaning, Meaning::Nitro);
        if of_nitro || NOT_OF_NITRO.contains(&name.member) {
            self.of_one_kind.push((name, value, source));
        } else {
            self.take_value(name, &value, source);
        }
    }

    /// The rollup's kind is known: what is of another one means nothing, there as here.
    pub(super) fn is_of_kind(&mut self, is_nitro: bool) {
        for (name, value, source) in std::mem::take(&mut self.of_one_kind) {
            if name.member.starts_with(OF_NITRO) == is_nitro {
                self.take_value(name, &value, source);
            }
        }
        if is_nitro {
            self.problems.append(&mut self.unknown_of_nitro);
        }
    }

    fn take_value(&mut self, name: &'static Name, value: &Value, source: Source) {
        match name.text(value) {
            Ok(None) => {}
            Ok(Some(text)) => self.take(name, text, source),
            Err(text) => {
                let source = match source {
                    Source::GoFile(path, _) => Source::File(path),
                    flag => flag,
                };
                self.problems.push(Problem::of(name.member, Some(source), text));
            }
        }
    }

    fn take(&mut self, name: &'static Name, text: String, source: Source) {
        let (setting, text) = match name.meaning {
            Meaning::Setting(setting) => (setting, text),
            Meaning::Nitro if text == "true" => ("rollup", "nitro".to_owned()),
            Meaning::Nitro => return,
            Meaning::Elsewhere { note, default } => {
                if text != default {
                    self.notes.push(format!("{} ({source}) is ignored: {note}", name.member));
                }
                return;
            }
        };
        if let Some((earlier, other)) = self.values.get(setting)
            && *earlier != text
        {
            let text = format!("conflicts with the value from {other}");
            self.problems.push(Problem::of(name.member, Some(source), text));
            return;
        }
        if let Some(note) = name.also {
            self.notes.push(format!("{} ({source}) {note}", name.member));
        }
        self.values.insert(setting, (text, source));
    }
}

impl Name {
    /// The text of a member of the file; none where that program takes the value for a missing one.
    fn text(&self, value: &Value) -> Result<Option<String>, String> {
        let is_interval = self.setting() == Some("verification_interval");
        let text = match value {
            Value::Null => return Ok(None),
            Value::String(text) => text.clone(),
            Value::Bool(on) => on.to_string(),
            Value::Number(number) if is_interval => {
                let nanoseconds = number.as_u64().ok_or("must be a whole number of nanoseconds")?;
                if nanoseconds == 0 {
                    return Ok(None);
                }
                humantime::format_duration(Duration::from_nanos(nanoseconds)).to_string()
            }
            Value::Number(number) => number.to_string(),
            Value::Array(elements) => {
                let is_ranges = self.setting() == Some("batcher_addresses");
                let text = if is_ranges { tenure } else { string };
                elements.iter().map(text).collect::<Result<Vec<_>, _>>()?.join(",")
            }
            Value::Object(_) => return Err("must not be an object".into()),
        };
        // Its numbers and addresses begin as zeros, so that zero means not given.
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        let zero = digits.bytes().all(|digit| digit == b'0');
        Ok((!zero).then_some(text))
    }
}

fn string(element: &Value) -> Result<String, String> {
    Ok(element.as_str().ok_or("must be an array of strings")?.to_owned())
}

/// `{address, from, to}`, both ends included, as the setting has it; or an address.
fn tenure(element: &Value) -> Result<String, String> {
    let Value::Object(range) = element else { return string(element) };
    let member = |name: &str| {
        range.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let address = member("address").and_then(Value::as_str).ok_or("a range needs an address")?;
    let block = |name: &str| {
        let block = member(name).and_then(Value::as_u64);
        block.ok_or_else(|| {
            format!("the range of {address} needs {name}, the number of an L1 block")
        })
    };
    let (from, to) = (member("from").map_or(Ok(0), |_| block("from"))?, block("to")?);
    Ok(match to.checked_add(1) {
        None if from == 0 => address.to_owned(),
        Some(end) => format!("{address}@{from}..{end}"),
        None => format!("{address}@{from}.."),
    })
}
