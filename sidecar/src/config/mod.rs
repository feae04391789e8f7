//! Every setting of the sidecar: what it is ([`SETTINGS`]), where its value comes from ([`Values`])
//! and what it must look like ([`Config`]).

mod file;
mod gather;
mod go_proxy;
mod parse;
mod problem;
mod proofs;
mod reader;
mod settings;
mod value;

use std::{path::PathBuf, time::Duration};

use alloy_primitives::Address;

use self::{reader::Reader, settings::ReadValue};
use crate::{batchers::BatcherSource, redact::SecretUrl, store::Record};

pub use self::{
    gather::{CONFIG_VARIABLE, Values},
    go_proxy::{NAMES as GO_PROXY_NAMES, Name as GoProxyName, old_flags},
    problem::{Problem, Problems},
    proofs::HotshotProofs,
    settings::{Config, Form, SETTINGS, Setting},
    value::{Source, Value},
};

impl Config {
    /// Parses and checks all values.
    ///
    /// # Errors
    /// Every problem, not only the first.
    pub fn from_values(values: &Values) -> Result<Self, Problems> {
        let mut reader = Reader::new(values);
        let config = Self::read(&mut reader);
        if values.get("batcher_addresses").is_some()
            && values.get("batch_authenticator_address").is_some()
        {
            reader.refuse(
                "batcher_addresses",
                "set either this or batch_authenticator_address, not both",
            );
        }
        reader.finish(config)
    }

    /// Where the authorized batchers are listed.
    #[must_use]
    pub fn batchers(&self) -> BatcherSource {
        match &self.batcher_addresses {
            Some(tenures) => BatcherSource::Fixed(tenures.clone()),
            None => BatcherSource::Contract(self.batch_authenticator_address),
        }
    }

    /// Checks that there is a HotShot height to start from: in the stored record, by the light
    /// client or in the configuration.
    ///
    /// # Errors
    /// One problem that names the settings.
    pub fn check_start_position(&self, record: Option<&Record>) -> Result<(), Problems> {
        let stored = record.and_then(|record| record.restart_height);
        if stored.is_some()
            || self.light_client_address.is_some()
            || self.initial_hotshot_height.is_some()
        {
            return Ok(());
        }
        let mut problems = Problems::default();
        problems.add(Problem::of(
            "light_client_address",
            None,
            "missing: no HotShot height to start from; set light_client_address or \
             initial_hotshot_height (the state file has none)",
        ));
        Err(problems)
    }
}

/// The state file alone, for commands that need nothing else.
///
/// # Errors
/// Problems of the sources or of that value.
pub fn store_path(values: &Values) -> Result<PathBuf, Problems> {
    let mut reader = Reader::new(values);
    let path = reader.value("store_path", parse::path);
    reader.finish(path)
}

/// Where the answers come from that `prove` checks.
#[derive(Debug)]
pub struct ProofSources {
    /// The query services.
    pub query_services: Vec<SecretUrl>,
    /// L1 endpoints, for the light client's root.
    pub l1: Vec<SecretUrl>,
    /// The light client, for its root.
    pub light_client: Option<Address>,
    /// Timeout for a request.
    pub request_timeout: Duration,
}

/// The settings that a proof needs, with L1's only for the light client's root.
///
/// # Errors
/// Problems of the sources or of these values.
pub fn proof_sources(values: &Values, with_root: bool) -> Result<ProofSources, Problems> {
    let mut reader = Reader::new(values);
    let query_services = reader.value("query_service_url", parse::voters);
    let request_timeout = reader.value("request_timeout", parse::pause);
    let (l1, light_client) = if with_root {
        let light_client = reader.value("light_client_address", parse::address);
        (reader.value("l1_rpc", parse::voters), light_client.map(Some))
    } else {
        (Some(Vec::new()), Some(None))
    };
    let sources = query_services.zip(l1).zip(light_client).zip(request_timeout);
    let sources = sources.map(|(((query_services, l1), light_client), request_timeout)| {
        ProofSources { query_services, l1, light_client, request_timeout }
    });
    reader.finish(sources)
}

/// All effective values as TOML, with the source of each, after the notes; what may hold a secret
/// is masked.
#[must_use]
pub fn describe(values: &Values) -> String {
    let mut text: String = values.notes().map(|note| format!("# Note: {note}\n")).collect();
    for setting in SETTINGS {
        let line = match values.get(setting.name) {
            None if setting.required => format!("# {} is missing", setting.name),
            None => format!("# {} is not set", setting.name),
            Some(value) => {
                let all_urls = parse::list(&value.text).all(|text| SecretUrl::parse(text).is_ok());
                let shown = |text: &str| match SecretUrl::parse(text) {
                    _ if !setting.form.secret => toml_string(text),
                    // A comma in user info may have turned what precedes it into a host.
                    Ok(url) if all_urls => toml_string(&url.to_string()),
                    _ => toml_string("…"),
                };
                let shown = if setting.form.list {
                    let elements: Vec<_> = parse::list(&value.text).map(shown).collect();
                    format!("[{}]", elements.join(", "))
                } else {
                    shown(&value.text)
                };
                let source = value.source.describe(setting.name);
                let by = if value.references.is_empty() { "" } else { ", by " };
                let references = value.references.join(" and ");
                format!("{} = {shown} # {source}{by}{references}", setting.name)
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests;
