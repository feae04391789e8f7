//! Every setting of the sidecar: what it is ([`SETTINGS`]), where its value comes from ([`Values`])
//! and what it must look like ([`Config`]).

mod environment;
mod file;
mod gather;
mod go_proxy;
mod needs;
mod parse;
mod problem;
mod proofs;
mod reader;
mod reference;
mod rollup;
mod secret_files;
mod settings;
mod value;

use std::{path::PathBuf, time::Duration};

use alloy_primitives::Address;

use self::{reader::Reader, settings::ReadValue};
use crate::{
    batchers::BatcherSource,
    redact::SecretUrl,
    store::{
        Record,
        etcd::{EtcdClient, EtcdLocation, TlsError, TlsFiles},
    },
};

pub use self::{
    environment::{CONFIG_VARIABLE, Environment},
    gather::Values,
    go_proxy::{NAMES as GO_PROXY_NAMES, Name as GoProxyName, old_flags},
    problem::{Problem, Problems},
    proofs::HotshotProofs,
    reference::Part,
    rollup::{NitroRequire, RollupKind},
    secret_files::{News, SecretFiles},
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
        needs::check(&mut reader, values);
        if values.get("batcher_addresses").is_some()
            && values.get("batch_authenticator_address").is_some()
        {
            reader.refuse(
                "batcher_addresses",
                "set either this or batch_authenticator_address, not both",
            );
        }
        let is_plain = |store: &Value| store.text.starts_with("etcd://");
        for name in ["store_ca_file", "store_identity_file"] {
            if values.get(name).is_some() && values.get("store").is_none_or(is_plain) {
                reader.refuse(name, "is only of use where store begins with etcds://");
            }
        }
        if values.get("light_client_address").is_none()
            && config.as_ref().is_some_and(|config| config.hotshot_proofs == HotshotProofs::Root)
        {
            reader.refuse("hotshot_proofs", "root needs light_client_address");
        }
        reader.finish(config)
    }

    /// Where the head is stored.
    #[must_use]
    pub fn stores(&self) -> Stores {
        Stores {
            path: self.store_path.clone(),
            shared: self.store.clone(),
            ca_file: self.store_ca_file.clone(),
            identity_file: self.store_identity_file.clone(),
        }
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

/// Where the head is stored.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The state file.
    pub path: PathBuf,
    /// What all replicas share.
    pub shared: Option<EtcdLocation>,
    /// The authorities that may sign its certificates.
    pub ca_file: Option<PathBuf>,
    /// The certificate by which it knows us.
    pub identity_file: Option<PathBuf>,
}

impl Stores {
    /// Those settings alone, for commands that need nothing else.
    ///
    /// # Errors
    /// Problems of the sources or of those values.
    pub fn read(values: &Values) -> Result<Self, Problems> {
        let mut reader = Reader::new(values);
        let path = reader.value("store_path", parse::path);
        let shared = reader.optional("store", EtcdLocation::parse);
        let ca_file = reader.optional("store_ca_file", parse::path);
        let identity_file = reader.optional("store_identity_file", parse::path);
        let stores = path.map(|path| Self { path, shared, ca_file, identity_file });
        reader.finish(stores)
    }

    /// A client of what all replicas share, if there is one.
    ///
    /// # Errors
    /// A file for TLS cannot be used.
    pub fn client(&self) -> Result<Option<EtcdClient>, TlsError> {
        let (authorities, identity) = (self.ca_file.as_deref(), self.identity_file.as_deref());
        let files = TlsFiles { authorities, identity };
        self.shared.clone().map(|location| EtcdClient::new(location, files)).transpose()
    }
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

/// How values that may hold a secret are described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// By reference where there is one, otherwise masked.
    Masked,
    /// As they are.
    Shown,
}

/// All effective values as TOML, with the source of each, after the notes. Given as a configuration
/// file, it yields the same configuration; a masked value is refused there.
#[must_use]
pub fn describe(values: &Values, secrets: Secrets) -> String {
    let mut text: String =
        values.notes().map(|note| format!("# Note: {}\n", plain(note))).collect();
    for setting in SETTINGS {
        let line = match values.get(setting.name) {
            None if setting.required => format!("# {} is missing", setting.name),
            None => format!("# {} is not set", setting.name),
            Some(value) => describe_one(setting, value, secrets),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn describe_one(setting: &Setting, value: &Value, secrets: Secrets) -> String {
    let name = setting.name;
    let source = plain(&value.source.describe(name));
    if !setting.form.secret || secrets == Secrets::Shown {
        let shown = if setting.form.list {
            array(parse::list(&value.text).map(str::to_owned))
        } else {
            toml_string(&value.text)
        };
        return format!("{name} = {shown} # {source}");
    }
    let masked = masked(&value.parts);
    let is_bare = value.parts.iter().all(|part| part.reference.is_none());
    let has_secret = masked.iter().any(|text| text.contains('…'));
    if value.source == Source::Environment && is_bare && has_secret {
        let shown = array([format!("env:{}", setting.variable())]);
        return format!("{name} = {shown} # {}, {source}", plain(&masked.join(", ")));
    }
    if is_bare {
        return format!("{name} = {} # {source}", array(masked));
    }
    let shown = value.parts.iter().zip(&masked);
    let shown =
        shown.map(|(part, masked)| part.reference.clone().unwrap_or_else(|| masked.clone()));
    format!("{name} = {} # {}, {source}", array(shown), plain(&masked.join(", ")))
}

/// What may be shown of each part. A comma in user info may have turned what precedes it into a
/// host: only a list that is URLs throughout is shown.
fn masked(parts: &[Part]) -> Vec<String> {
    let urls = |part: &Part| parse::list(&part.text).map(SecretUrl::parse).collect();
    let parsed: Result<Vec<Vec<_>>, _> = parts.iter().map(urls).collect();
    let shown =
        |urls: &Vec<SecretUrl>| urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match parsed {
        Ok(parsed) => parsed.iter().map(shown).collect(),
        Err(_) => vec!["…".into(); parts.len()],
    }
}

/// The text on one line, for a comment.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn array(elements: impl IntoIterator<Item = String>) -> String {
    let elements: Vec<_> = elements.into_iter().map(|element| toml_string(&element)).collect();
    format!("[{}]", elements.join(", "))
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests;
