//! What each replica has verified, in a key of its own under a lease.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Etcd, KeyValue, number};
use crate::store::engine::{EngineError, Report};

/// How long a replica that was killed still counts.
const TTL: Duration = Duration::from_secs(10);
/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(3);

/// The lease of this replica, and what is told under it.
#[derive(Debug, Default)]
pub(super) struct Lease(Mutex<Option<Held>>);

#[derive(Debug, Clone)]
struct Held {
    /// As etcd writes it.
    id: String,
    renewed: Instant,
    told: Option<Report>,
}

impl Lease {
    pub(super) fn is_held(&self) -> bool {
        self.0.lock().is_some()
    }
}

#[derive(Debug, Deserialize)]
struct Granted {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Debug, Deserialize)]
struct Renewal {
    result: Option<Renewed>,
}

#[derive(Debug, Deserialize)]
struct Renewed {
    #[serde(default, rename = "TTL")]
    ttl: String,
}

#[derive(Debug, Deserialize)]
struct Reports {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

impl Etcd {
    fn start_of_reports(&self) -> String {
        BASE64_STANDARD.encode(format!("{}replica/", self.folder))
    }

    /// What follows the last key of the chain.
    pub(super) fn end_of_folder(&self) -> String {
        // The character after the slash.
        BASE64_STANDARD.encode(format!("{}0", self.folder.trim_end_matches('/')))
    }

    pub(super) async fn put_report(&self, report: &Report) -> Result<(), EngineError> {
        let held = self.lease.0.lock().clone();
        let told = self.put_under(held, report).await;
        // Whatever went wrong, a new lease mends it, and the old one ends by itself.
        *self.lease.0.lock() = told.as_ref().ok().cloned();
        told.map(drop)
    }

    async fn put_under(&self, held: Option<Held>, report: &Report) -> Result<Held, EngineError> {
        let mut held = match held {
            Some(held) => self.renewed(held).await?,
            None => None,
        };
        let mut held = match held.take() {
            Some(held) => held,
            None => self.granted().await?,
        };
        if held.told.as_ref() != Some(report) {
            let refused = |error: serde_json::Error| EngineError::Refused(error.to_string());
            let value = BASE64_STANDARD.encode(serde_json::to_vec(report).map_err(refused)?);
            let key = format!("{}replica/{}", self.folder, report.replica);
            let key = BASE64_STANDARD.encode(key);
            let question = json!({ "key": key, "value": value, "lease": held.id });
            let _: serde_json::Value = self.gateway.ask("kv/put", &question).await?;
            held.told = Some(report.clone());
        }
        Ok(held)
    }

    async fn granted(&self) -> Result<Held, EngineError> {
        let renewed = Instant::now();
        let question = json!({ "TTL": TTL.as_secs().to_string() });
        let Granted { id } = self.gateway.ask("lease/grant", &question).await?;
        Ok(Held { id, renewed, told: None })
    }

    /// The lease, unless it has ended meanwhile, as during a long stop.
    async fn renewed(&self, held: Held) -> Result<Option<Held>, EngineError> {
        let now = Instant::now();
        if now.duration_since(held.renewed) < RENEWAL {
            return Ok(Some(held));
        }
        let question = json!({ "ID": held.id });
        let Renewal { result } = self.gateway.ask("lease/keepalive", &question).await?;
        let lives = result.is_some_and(|renewed| number(&renewed.ttl).is_ok_and(|ttl| ttl > 0));
        Ok(lives.then_some(Held { renewed: now, ..held }))
    }

    pub(super) async fn read_reports(&self) -> Result<Vec<Report>, EngineError> {
        let question = json!({
            "key": self.start_of_reports(), "range_end": self.end_of_folder(),
        });
        let Reports { kvs } = self.gateway.ask("kv/range", &question).await?;
        let reports = kvs.iter().filter_map(|found| {
            let text = BASE64_STANDARD.decode(&found.value).ok()?;
            // One of another version does not count, and stops nothing.
            serde_json::from_slice(&text).ok()
        });
        Ok(reports.collect())
    }

    pub(super) async fn revoke(&self) -> Result<(), EngineError> {
        let held = self.lease.0.lock().take();
        if let Some(Held { id, .. }) = held {
            let _: serde_json::Value =
                self.gateway.ask("lease/revoke", &json!({ "ID": id })).await?;
        }
        Ok(())
    }
}
