//! The head in etcd, over its JSON gateway.
//!
//! One key holds the head, and transactions compare its `mod_revision`; a key that is absent has
//! version zero. Neither locks nor elections are needed: of replicas that race, one transaction
//! wins, and the losers learn the head by its answer.

mod gateway;
mod location;
mod reports;

use std::{fs, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Certificate, Client, Response};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

use super::{
    Identity, StoreId,
    engine::{
        Advance, Engine, EngineError, Moment, News, Published, Reading, Report, SharedHead, Watch,
    },
};
use gateway::Gateway;
use reports::Lease;

pub use location::EtcdLocation;

/// The longest line of a watch, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// How an etcd is asked.
#[derive(Clone)]
pub struct EtcdClient {
    location: EtcdLocation,
    client: Client,
}

/// Why an etcd cannot be asked.
#[derive(Debug, Error)]
#[error("{path} ({setting}): {problem}")]
pub struct TlsError {
    path: String,
    setting: &'static str,
    problem: String,
}

/// The files for TLS.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsFiles<'a> {
    /// Authorities that may sign the members' certificates, instead of the system's.
    pub authorities: Option<&'a Path>,
    /// The client's certificate and its key, in PEM.
    pub identity: Option<&'a Path>,
}

impl std::fmt::Debug for EtcdClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.location.fmt(f)
    }
}

impl EtcdClient {
    /// A client for the members at a location.
    ///
    /// # Errors
    /// A file for TLS cannot be used.
    pub fn new(location: EtcdLocation, files: TlsFiles<'_>) -> Result<Self, TlsError> {
        let failed = |path: &Path, setting, problem: String| TlsError {
            path: path.display().to_string(),
            setting,
            problem,
        };
        let mut client = Client::builder()
            .user_agent(concat!("finality-sidecar/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(1));
        if let Some(path) = files.authorities {
            let bad = |problem| failed(path, "store_ca_file", problem);
            let text = fs::read(path).map_err(|error| bad(error.to_string()))?;
            let found =
                Certificate::from_pem_bundle(&text).map_err(|error| bad(error.to_string()))?;
            client = client.tls_certs_only(found);
        }
        if let Some(path) = files.identity {
            let bad = |problem| failed(path, "store_identity_file", problem);
            let text = fs::read(path).map_err(|error| bad(error.to_string()))?;
            let identity =
                reqwest::Identity::from_pem(&text).map_err(|error| bad(error.to_string()))?;
            client = client.identity(identity);
        }
        let client = client.build().map_err(|error| TlsError {
            path: location.to_string(),
            setting: "store",
            problem: error.to_string(),
        })?;
        Ok(Self { location, client })
    }

    /// The head of one chain.
    #[must_use]
    pub fn of(&self, identity: Identity) -> Etcd {
        let Identity { chain_id, genesis_hash, namespace } = identity;
        let genesis: String = genesis_hash.to_string().chars().skip(2).take(8).collect();
        let prefix = &self.location.prefix;
        let folder = format!("{prefix}/{chain_id}-{genesis}-{namespace}/");
        let gateway = Arc::new(Gateway::new(&self.location, self.client.clone()));
        let key = BASE64_STANDARD.encode(format!("{folder}head"));
        Etcd { gateway, key, folder, identity, lease: Lease::default() }
    }
}

/// The head of one chain in an etcd.
pub struct Etcd {
    gateway: Arc<Gateway>,
    /// Of the head, in base64.
    key: String,
    /// The start of all keys of the chain.
    folder: String,
    identity: Identity,
    lease: Lease,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// 64-bit numbers are texts in the gateway's JSON, and zeros are left out.
#[derive(Debug, Deserialize)]
struct Header {
    cluster_id: String,
    revision: String,
}

#[derive(Debug, Deserialize)]
struct KeyValue {
    key: String,
    mod_revision: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Debug, Deserialize)]
struct Transaction {
    header: Header,
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    response_range: Option<Found>,
}

#[derive(Debug, Default, Deserialize)]
struct Found {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Debug, Deserialize)]
struct Line {
    result: Option<Events>,
}

#[derive(Debug, Deserialize)]
struct Events {
    header: Header,
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default, rename = "type")]
    kind: String,
    kv: KeyValue,
}

fn number(text: &str) -> Result<u64, EngineError> {
    text.parse().map_err(|_| EngineError::Refused(format!("{text:?} is no number of etcd")))
}

impl Etcd {
    fn moment(header: &Header) -> Result<Moment, EngineError> {
        Ok(Moment { engine: number(&header.cluster_id)?, revision: number(&header.revision)? })
    }

    fn published(&self, found: &[KeyValue]) -> Result<Option<Published>, EngineError> {
        let Some(found) = found.first() else { return Ok(None) };
        let text = BASE64_STANDARD.decode(&found.value);
        let text = text.map_err(|error| EngineError::Foreign(format!("is broken: {error}")))?;
        let head = SharedHead::parse(&text, self.identity)?;
        Ok(Some(Published { revision: number(&found.mod_revision)?, head }))
    }
}

#[async_trait]
impl Engine for Etcd {
    async fn load(&self) -> Result<Reading, EngineError> {
        // Linearizable, unless it is asked to be serializable.
        let range: Range = self.gateway.ask("kv/range", &json!({ "key": self.key })).await?;
        let at = Self::moment(&range.header)?;
        Ok(Reading { at, published: self.published(&range.kvs)? })
    }

    async fn advance(&self, seen: Option<u64>, head: &SharedHead) -> Result<Advance, EngineError> {
        let refused = |error: serde_json::Error| EngineError::Refused(error.to_string());
        let value = BASE64_STANDARD.encode(serde_json::to_vec(head).map_err(refused)?);
        let unchanged = match seen {
            Some(revision) => json!({
                "key": self.key, "target": "MOD", "result": "EQUAL",
                "mod_revision": revision.to_string(),
            }),
            // No comparison of an absent key's value is true.
            None => json!({
                "key": self.key, "target": "VERSION", "result": "EQUAL", "version": "0",
            }),
        };
        let question = json!({
            "compare": [unchanged],
            "success": [{ "request_put": { "key": self.key, "value": value } }],
            "failure": [{ "request_range": { "key": self.key } }],
        });
        let done: Transaction = self.gateway.ask("kv/txn", &question).await?;
        let at = Self::moment(&done.header)?;
        if done.succeeded {
            let published = Some(Published { revision: at.revision, head: head.clone() });
            return Ok(Advance::Done(Reading { at, published }));
        }
        let found = done.responses.into_iter().find_map(|step| step.response_range);
        let published = self.published(&found.unwrap_or_default().kvs)?;
        // The question may have been put twice, to two members.
        let is_ours = published.as_ref().is_some_and(|published| published.head == *head);
        let reading = Reading { at, published };
        Ok(if is_ours { Advance::Done(reading) } else { Advance::Lost(reading) })
    }

    async fn watch(&self, after: u64) -> Result<Box<dyn Watch>, EngineError> {
        let start = after.saturating_add(1).to_string();
        // Without a lease of its own, a replica has no use for the others' reports.
        let until = if self.lease.is_held() { self.end_of_folder() } else { String::new() };
        let question = json!({
            "create_request": { "key": self.key, "range_end": until, "start_revision": start },
        });
        let response = self.gateway.open("watch", &question).await?;
        let (key, identity) = (self.key.clone(), self.identity);
        Ok(Box::new(Watching { response, text: Vec::new(), key, identity }))
    }

    async fn report(&self, report: &Report) -> Result<(), EngineError> {
        self.put_report(report).await
    }

    async fn reports(&self) -> Result<Vec<Report>, EngineError> {
        self.read_reports().await
    }

    async fn withdraw(&self, _: StoreId) -> Result<(), EngineError> {
        self.revoke().await
    }
}

/// An open watch.
struct Watching {
    response: Response,
    /// What has arrived of the next line.
    text: Vec<u8>,
    /// Of the head.
    key: String,
    identity: Identity,
}

impl Watching {
    async fn line(&mut self) -> Result<Vec<u8>, EngineError> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let rest = self.text.split_off(end.saturating_add(1));
                return Ok(std::mem::replace(&mut self.text, rest));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) if self.text.len() < LONGEST_LINE => {
                    self.text.extend_from_slice(&chunk);
                }
                Ok(_) => return Err(EngineError::Silent("the watch has ended".into())),
                Err(error) => return Err(EngineError::Silent(crate::redact::describe(&error))),
            }
        }
    }
}

#[async_trait]
impl Watch for Watching {
    async fn next(&mut self) -> Result<News, EngineError> {
        loop {
            let line = self.line().await?;
            let line: Line = serde_json::from_slice(&line)
                .map_err(|error| EngineError::Silent(format!("the watch is broken: {error}")))?;
            // Without a leader, compacted, or refused: reading says which.
            let Some(events) = line.result.filter(|events| !events.canceled) else {
                return Err(EngineError::Silent("the watch was canceled".into()));
            };
            if events.events.is_empty() {
                continue;
            }
            // Of several heads, the newest is the head.
            let of_head = |event: &Event| event.kv.key == self.key;
            let Some(event) = events.events.into_iter().rfind(of_head) else {
                return Ok(News::Reports);
            };
            let revision = number(&event.kv.mod_revision)?;
            // The header may tell of writes whose events are still to come.
            let at = Moment { revision, ..Etcd::moment(&events.header)? };
            if event.kind == "DELETE" {
                return Ok(News::Head(Box::new(Reading { at, published: None })));
            }
            let text = BASE64_STANDARD.decode(&event.kv.value).unwrap_or_default();
            let head = SharedHead::parse(&text, self.identity)?;
            let published = Some(Published { revision, head });
            return Ok(News::Head(Box::new(Reading { at, published })));
        }
    }
}
