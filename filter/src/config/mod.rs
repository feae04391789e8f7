//! The configuration of the plugin: JSON text, with every default in [`Config::default`].
//!
//! It is read key by key and not by a derived deserializer, so that each message names the key and
//! the module stays small.

pub mod reference;

use std::time::Duration;

use finality_core::{
    headers,
    methods::{ExcludedMethods, MethodTable, Position},
    rewrite::{DEFAULT_MAX_BODY_BYTES, Rewriter, Rules, RulesError, Scope},
};
use serde_json::{Map, Value};
use thiserror::Error;

/// What happens to tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are replaced.
    Replace,
    /// They reach the node. What would have become of them is counted and told.
    Observe,
}

/// How rewritten requests to the node are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The headers go first, without content-length; the body follows in chunks. Works anywhere.
    Chunked,
    /// The headers wait for the body, then have its exact length. Envoy needs
    /// `allow_on_headers_stop_iteration: true`; otherwise requests hang.
    Exact,
}

/// What happens to a request with an encoded body (gzip, br, …), in which a tag could hide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentEncoding {
    /// It is refused with 415.
    Refuse,
    /// It goes to the node unmodified.
    Pass,
}

/// How fresh the head of a tagged request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The head from the last poll.
    Cached,
    /// The sidecar is asked for each tagged body, and without its answer the request is refused. No
    /// Envoy then returns less than another one did before.
    Strict,
}

/// The configuration of the plugin.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Envoy cluster of the sidecar. Required.
    pub sidecar_cluster: String,
    /// The `:authority` of requests to the sidecar; `sidecar_cluster` by default.
    pub sidecar_authority: String,
    /// The L2 chain; reports about another one are rejected. By default, the first report decides.
    pub chain_id: Option<u64>,
    /// Name of the shared head. A new name starts without a head, so the number may be lower.
    pub cache_key: String,
    /// What happens to tags.
    pub mode: Mode,
    /// What is rewritten, where, and the limits of tagged bodies: `tags`, `scope`,
    /// `never_methods`, `block_parameters`, `max_batch_length`, `max_depth`, `max_held_bytes`.
    pub rules: Rules,
    /// How rewritten requests are framed.
    pub framing: Framing,
    /// What happens to encoded bodies.
    pub content_encoding: ContentEncoding,
    /// The longest body, in bytes; none: any length, which only bodies that are
    /// [streamed](Self::streams) may have. Where they are held it must be below the buffer limit of
    /// Envoy's listener.
    pub max_body_bytes: Option<usize>,
    /// How fresh the head of a tagged request is.
    pub freshness: Freshness,
    /// How long a tagged request waits for the sidecar with strict `freshness`.
    pub freshness_timeout: Duration,
    /// How long a head may be used after the sidecar's last report; zero: no limit. Longer than
    /// `poll_timeout`, since a sidecar whose head does not change is silent for `long_poll`.
    pub max_contact_age: Duration,
    /// Time between two checks of whether a poll is due. Counters are flushed to the host as often.
    pub poll_tick: Duration,
    /// How long the sidecar may hold a poll open until the head changes; whole seconds, zero: not
    /// at all.
    pub long_poll: Duration,
    /// When a poll counts as failed; `long_poll` plus five seconds by default.
    pub poll_timeout: Duration,
    /// The longest pause after failed polls.
    pub poll_backoff_max: Duration,
    /// Response header with the number that a request's tags became; none if empty.
    pub head_header: String,
}

impl Default for Config {
    /// All defaults. The empty `sidecar_cluster` means that it is not set.
    fn default() -> Self {
        let long_poll = Duration::from_secs(25);
        Self {
            sidecar_cluster: String::new(),
            sidecar_authority: String::new(),
            chain_id: None,
            cache_key: "default".to_owned(),
            mode: Mode::Replace,
            rules: Rules::default(),
            framing: Framing::Chunked,
            content_encoding: ContentEncoding::Refuse,
            max_body_bytes: None,
            freshness: Freshness::Cached,
            freshness_timeout: Duration::from_secs(2),
            max_contact_age: Duration::from_mins(5),
            poll_tick: Duration::from_secs(1),
            long_poll,
            poll_timeout: Self::poll_timeout_for(long_poll),
            poll_backoff_max: Duration::from_secs(30),
            head_header: headers::HEAD.to_owned(),
        }
    }
}

/// Why a configuration is rejected. Every message names the key.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It is not JSON.
    #[error("the configuration is not JSON text (give it as a StringValue): {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is JSON, but not an object.
    #[error("the configuration is not a JSON object")]
    NotAnObject,
    /// It has an unknown key.
    #[error("unknown key {key:?}; known are {known}")]
    UnknownKey {
        /// The key, with its parent's name in front if it has one.
        key: String,
        /// The keys that exist there.
        known: String,
    },
    /// A value is of the wrong type or not one of the choices.
    #[error("{key} must be {expected}")]
    WrongValue {
        /// The key.
        key: String,
        /// What it must be.
        expected: String,
    },
    /// A required key is missing.
    #[error("{0} is required")]
    Missing(&'static str),
    /// The rules of what is rewritten are invalid.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

type Result<T> = std::result::Result<T, ConfigError>;

impl Config {
    /// Reads the text of a configuration. Also returns the rewriter that it describes.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &[u8]) -> Result<(Self, Rewriter)> {
        let Value::Object(object) = serde_json::from_slice(text)? else {
            return Err(ConfigError::NotAnObject);
        };
        Keys::check("", &object, &reference::NAMES)?;
        let keys = Keys { object: &object, parent: "" };
        let default = Self::default();
        let sidecar_cluster =
            keys.text("sidecar_cluster")?.ok_or(ConfigError::Missing("sidecar_cluster"))?;
        let long_poll = keys.duration("long_poll", 0)?.unwrap_or(default.long_poll);
        let mut config = Self {
            sidecar_authority: keys
                .text("sidecar_authority")?
                .unwrap_or_else(|| sidecar_cluster.clone()),
            sidecar_cluster,
            chain_id: keys.number("chain_id")?,
            cache_key: keys.text("cache_key")?.unwrap_or(default.cache_key),
            mode: keys
                .choice("mode", &[("replace", Mode::Replace), ("observe", Mode::Observe)])?
                .unwrap_or(default.mode),
            rules: rules(&keys, default.rules)?,
            framing: keys
                .choice("framing", &[("chunked", Framing::Chunked), ("exact", Framing::Exact)])?
                .unwrap_or(default.framing),
            content_encoding: keys
                .choice(
                    "content_encoding",
                    &[("refuse", ContentEncoding::Refuse), ("pass", ContentEncoding::Pass)],
                )?
                .unwrap_or(default.content_encoding),
            max_body_bytes: keys.size("max_body_bytes")?,
            freshness: keys
                .choice(
                    "freshness",
                    &[("cached", Freshness::Cached), ("strict", Freshness::Strict)],
                )?
                .unwrap_or(default.freshness),
            freshness_timeout: keys
                .duration("freshness_timeout", 1)?
                .unwrap_or(default.freshness_timeout),
            max_contact_age: keys
                .duration("max_contact_age", 0)?
                .unwrap_or(default.max_contact_age),
            poll_tick: keys.duration("poll_tick", 10)?.unwrap_or(default.poll_tick),
            long_poll,
            poll_timeout: keys
                .duration("poll_timeout", 1)?
                .unwrap_or_else(|| Self::poll_timeout_for(long_poll)),
            poll_backoff_max: keys
                .duration("poll_backoff_max", 1)?
                .unwrap_or(default.poll_backoff_max),
            head_header: keys.header("head_header")?.unwrap_or(default.head_header),
        };
        if !config.streams() {
            config.max_body_bytes.get_or_insert(DEFAULT_MAX_BODY_BYTES);
        }
        config.check()?;
        let rewriter = Rewriter::new(config.rules.clone())?;
        Ok((config, rewriter))
    }

    /// Whether long bodies are rewritten while they pass: not if their length must be known first,
    /// nor if the first tag would have to wait for the sidecar.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.framing == Framing::Chunked && self.freshness == Freshness::Cached
    }

    fn poll_timeout_for(long_poll: Duration) -> Duration {
        long_poll.saturating_add(Duration::from_secs(5))
    }

    fn check(&self) -> Result<()> {
        if self.max_body_bytes == Some(0) {
            return Err(wrong("max_body_bytes", "at least 1"));
        }
        if self.long_poll.subsec_nanos() != 0 {
            return Err(wrong("long_poll", "whole seconds"));
        }
        if self.poll_timeout <= self.long_poll {
            return Err(wrong("poll_timeout", "longer than long_poll"));
        }
        if !self.max_contact_age.is_zero() && self.max_contact_age <= self.poll_timeout {
            return Err(wrong(
                "max_contact_age",
                "longer than poll_timeout, or \"0s\" for no limit",
            ));
        }
        if self.poll_backoff_max < self.poll_tick {
            return Err(wrong("poll_backoff_max", "at least poll_tick"));
        }
        Ok(())
    }
}

const NEVER_METHODS_KEYS: &[&str] = &["defaults", "extra"];

fn rules(keys: &Keys<'_>, default: Rules) -> Result<Rules> {
    let scopes = [Scope::Params, Scope::BlockParameters].map(|scope| (scope.as_str(), scope));
    let excluded = match keys.object.get("never_methods") {
        Some(Value::Object(object)) => {
            Keys::check("never_methods.", object, NEVER_METHODS_KEYS)?;
            let keys = Keys { object, parent: "never_methods." };
            ExcludedMethods::new(
                keys.boolean("defaults")?.unwrap_or(true),
                keys.texts("extra")?.unwrap_or_default(),
            )
        }
        Some(_) => return Err(wrong("never_methods", "an object with \"defaults\" and \"extra\"")),
        None => default.excluded,
    };
    Ok(Rules {
        tags: keys.texts("tags")?.unwrap_or(default.tags),
        scope: keys.choice("scope", &scopes)?.unwrap_or(default.scope),
        excluded,
        block_parameters: method_table(keys)?,
        max_batch_length: keys.size("max_batch_length")?.unwrap_or(default.max_batch_length),
        max_depth: keys.size("max_depth")?.unwrap_or(default.max_depth),
        max_held_bytes: keys.size("max_held_bytes")?.unwrap_or(default.max_held_bytes),
    })
}

/// The shipped method table with the rows of `block_parameters`.
fn method_table(keys: &Keys<'_>) -> Result<MethodTable> {
    let rows = match keys.object.get("block_parameters") {
        Some(Value::Object(rows)) => rows,
        Some(_) => return Err(wrong("block_parameters", "an object of methods")),
        None => return Ok(MethodTable::default()),
    };
    let position = |value: &Value| -> Option<Position> {
        match (value.as_str(), value.as_u64()) {
            (Some(text), _) => text.parse().ok(),
            (None, index) => index?.to_string().parse().ok(),
        }
    };
    let row = |(method, value): (&String, &Value)| {
        let positions: Option<Vec<_>> =
            value.as_array().and_then(|list| list.iter().map(position).collect());
        match positions {
            Some(positions) if !positions.is_empty() => Ok((method.clone(), positions)),
            _ => Err(wrong(
                format!("block_parameters.{method}"),
                "a list of positions, such as [1] or [\"0.fromBlock\"]",
            )),
        }
    };
    rows.iter().map(row).collect::<Result<Vec<_>>>().map(MethodTable::new)
}

fn wrong(key: impl Into<String>, expected: impl Into<String>) -> ConfigError {
    ConfigError::WrongValue { key: key.into(), expected: expected.into() }
}

fn list(names: impl Iterator<Item = String>, separator: &str) -> String {
    names.reduce(|all, name| all + separator + &name).unwrap_or_default()
}

/// The members of an object, read by type.
struct Keys<'a> {
    object: &'a Map<String, Value>,
    /// The prefix of keys in messages.
    parent: &'static str,
}

impl Keys<'_> {
    fn check(parent: &str, object: &Map<String, Value>, known: &[&str]) -> Result<()> {
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(ConfigError::UnknownKey {
                key: format!("{parent}{key}"),
                known: list(known.iter().map(ToString::to_string), ", "),
            }),
            None => Ok(()),
        }
    }

    /// A member, if present: the value that `read` returns, or an error that says what it must be.
    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        self.object
            .get(key)
            .map(|value| {
                read(value).ok_or_else(|| wrong(format!("{}{key}", self.parent), expected))
            })
            .transpose()
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        self.read(key, "a text that is not empty", |value| {
            value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        })
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.read(key, "a list of texts", |value| {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        })
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.read(key, "true or false", Value::as_bool)
    }

    fn number(&self, key: &str) -> Result<Option<u64>> {
        self.read(key, "a whole number", Value::as_u64)
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        self.read(key, "a whole number below 4294967296", |value| {
            u32::try_from(value.as_u64()?).ok()?.try_into().ok()
        })
    }

    fn duration(&self, key: &str, least_milliseconds: u128) -> Result<Option<Duration>> {
        let expected = match least_milliseconds {
            0 => "a duration such as \"5s\", below a year".to_owned(),
            least => format!("a duration such as \"5s\", at least {least} ms and below a year"),
        };
        let below = Duration::from_hours(365 * 24);
        self.read(key, &expected, |value| {
            humantime::parse_duration(value.as_str()?)
                .ok()
                .filter(|duration| duration.as_millis() >= least_milliseconds && *duration < below)
        })
    }

    fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let chosen = self.one_of(key, &names)?;
        Ok(chosen.and_then(|chosen| choices.get(chosen)).map(|(_, choice)| *choice))
    }

    /// The choice that a member names.
    fn one_of(&self, key: &str, names: &[&str]) -> Result<Option<usize>> {
        let expected = list(names.iter().map(|name| format!("{name:?}")), " or ");
        self.read(key, &expected, |value| {
            let text = value.as_str()?;
            names.iter().position(|name| *name == text)
        })
    }

    /// The name of a header in lower case, as HTTP/2 requires.
    fn header(&self, key: &str) -> Result<Option<String>> {
        self.read(key, "the name of a response header, or empty", |value| {
            let name = value.as_str()?;
            let is_token = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            is_token.then(|| name.to_ascii_lowercase())
        })
    }
}

#[cfg(test)]
mod tests;
