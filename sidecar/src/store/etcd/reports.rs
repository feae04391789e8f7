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
        let reports: Vec<Report> = reports.collect();
        // A write that was given up may come late, over a newer one or under an earlier lease.
        if let Some(held) = &mut *self.lease.0.lock()
            && held.told.as_ref().is_some_and(|told| !reports.contains(told))
        {
            held.told = None;
        }
        Ok(reports)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_primitives::B256;
    use axum::{Json, Router, routing::post};
    use finality_core::head::Source;
    use serde_json::Value;

    use super::*;
    use crate::store::{
        Identity, StoreId,
        engine::Engine as _,
        etcd::{EtcdClient, EtcdLocation, TlsFiles},
    };

    /// A member that has one key, whichever is written.
    async fn member(kept: Arc<Mutex<Option<Value>>>) -> String {
        let (put, got) = (Arc::clone(&kept), kept);
        let put = async move |Json(question): Json<Value>| {
            *put.lock() = Some(question);
            "{}"
        };
        let range = async move || {
            let found = got.lock().clone().map(
                |put| json!({ "key": put["key"], "value": put["value"], "mod_revision": "2" }),
            );
            let found: Vec<_> = found.into_iter().collect();
            Json(json!({ "header": { "cluster_id": "1", "revision": "2" }, "kvs": found }))
        };
        let routes = Router::new()
            .route("/v3/lease/grant", post(async || r#"{"ID":"1"}"#))
            .route("/v3/kv/put", post(put))
            .route("/v3/kv/range", post(range));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("etcd://{address}")
    }

    #[tokio::test]
    async fn a_report_over_which_an_earlier_one_was_written_is_told_again() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let kept = Arc::new(Mutex::new(None));
        let location = EtcdLocation::parse(&member(Arc::clone(&kept)).await).unwrap();
        let client = EtcdClient::new(location, TlsFiles::default()).unwrap();
        let etcd = client.of(Identity { chain_id: 7, genesis_hash: B256::ZERO, namespace: 7 });
        let report = |number| Report {
            replica: StoreId::try_from("a".to_owned()).unwrap(),
            number,
            hash: B256::repeat_byte(1),
            l1_origin: None,
            source: Source::Espresso,
        };
        etcd.report(&report(5)).await.unwrap();
        let earlier = kept.lock().clone();
        etcd.report(&report(6)).await.unwrap();
        let last = kept.lock().take();
        assert_ne!(last, earlier);
        // It comes late, or the lease ends under which it was written.
        for late in [earlier, None] {
            (*kept.lock()).clone_from(&late);
            etcd.report(&report(6)).await.unwrap();
            assert_eq!(*kept.lock(), late, "not told again without a reason");
            etcd.reports().await.unwrap();
            etcd.report(&report(6)).await.unwrap();
            assert_eq!(*kept.lock(), last);
            assert_eq!(etcd.reports().await.unwrap(), [report(6)]);
        }
    }
}
