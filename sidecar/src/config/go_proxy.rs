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
    /// The rollup kind; only one is supported.
    Mode,
    /// A switch for a rollup kind that is not known, if it is on.
    Nitro,
    /// Of that rollup kind: it means nothing while the kind is off, there as here.
    OfNitro,
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
    Name::new("mode", Meaning::Mode),
    Name::new("nitro.enable", Meaning::Nitro).switch(),
    Name::new("nitro.feed_url", Meaning::OfNitro),
    Name::new("nitro.bridge_address", Meaning::OfNitro),
    Name::new("nitro.valid_signing_key_addresses", Meaning::OfNitro),
    Name::new("nitro.wait_for_eth_finality", Meaning::OfNitro).switch(),
    Name::new("nitro.eth_log_scan_block_range", Meaning::OfNitro),
    Name::new("nitro.wait_for_l1_finalization", Meaning::OfNitro).switch(),
    Name::new("nitro.namespace", Meaning::OfNitro),
];

/// The names whose flags the sidecar does not have itself.
pub fn old_flags() -> impl Iterator<Item = &'static Name> {
    NAMES.iter().filter(|name| name.is_old_flag())
}

/// What values under the Go proxy's names come to.
#[derive(Debug, Default)]
pub(super) struct ImportedSettings {
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
                taken.take(name, text.clone(), Source::GoFlag(name.flag()));
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
                // What belongs to a rollup kind that is off does not matter.
                if !member.starts_with("nitro.") {
                    let text = if Setting::named(&member).is_some() {
                        "not a setting of the Go proxy; write the sidecar's own settings in TOML"
                    } else {
                        "not a setting of the Go proxy, which ignores it: remove it"
                    };
                    taken.problems.push(problem(&member, text.into()));
                }
                continue;
            };
            if matches!(name.meaning, Meaning::OfNitro) {
                continue;
            }
            match name.text(&value) {
                Ok(None) => {}
                Ok(Some(text)) => {
                    taken.take(name, text, Source::GoFile(path.to_owned(), name.member));
                }
                Err(text) => taken.problems.push(problem(name.member, text)),
            }
        }
        taken
    }

    fn take(&mut self, name: &'static Name, text: String, source: Source) {
        let refuse = |text: &str| Problem::of(name.member, Some(source.clone()), text);
        match name.meaning {
            Meaning::Setting(setting) => {
                if let Some((earlier, other)) = self.values.get(setting)
                    && *earlier != text
                {
                    let text = format!("conflicts with the value from {other}");
                    self.problems.push(refuse(&text));
                    return;
                }
                if let Some(note) = name.also {
                    self.notes.push(format!("{} ({source}) {note}", name.member));
                }
                self.values.insert(setting, (text, source));
            }
            Meaning::Elsewhere { default, .. } if text == default => {}
            Meaning::Elsewhere { note, .. } => {
                self.notes.push(format!("{} ({source}) is ignored: {note}", name.member));
            }
            Meaning::Mode if text == "op" => {}
            Meaning::Nitro if text != "true" => {}
            Meaning::OfNitro => {}
            Meaning::Mode | Meaning::Nitro => self.problems.push(refuse(
                "only OP-stack rollups (op) are supported; keep the Go proxy for others",
            )),
        }
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
                let texts: Option<Vec<_>> = elements.iter().map(Value::as_str).collect();
                texts.ok_or("must be an array of strings")?.join(",")
            }
            Value::Object(_) => return Err("must not be an object".into()),
        };
        // Its numbers and addresses begin as zeros, so that zero means not given.
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        let zero = digits.bytes().all(|digit| digit == b'0');
        Ok((!zero).then_some(text))
    }
}
