//! What `check` prints: a table, or one JSON object.

use std::{fmt, path::PathBuf};

use alloy_primitives::{Address, B256, U256};
use finality_core::head::HeadReport;
use serde::Serialize;
use serde_json::json;

use super::{endpoints::Endpoint, namespace::Namespace, parent::ParentChain};
use crate::{
    eth::BlockId,
    verifier::findings::{BatcherFindings, Chain, ProofFindings},
};

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether nothing is wrong.
    pub(super) ok: bool,
    pub(super) problems: Vec<Remark>,
    pub(super) notes: Vec<Remark>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) chain: Option<Chain>,
    pub(super) l1_finalized: Option<BlockId>,
    pub(super) namespace: Option<Namespace>,
    pub(super) batchers: BatcherFindings,
    pub(super) light_client: Option<LightClient>,
    /// The parent chain of a Nitro chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<ParentChain>,
    pub(super) proofs: ProofFindings,
    pub(super) store: Stored,
    /// The head that `run` would serve first.
    pub(super) first_head: Option<HeadReport>,
    /// Why it would be that one.
    pub(super) reason_code: &'static str,
    pub(super) reason: String,
    /// The time for which calls were counted.
    pub(super) counted_ms: Option<u64>,
}

/// Something that is wrong, or worth knowing.
#[derive(Debug, Serialize)]
pub(super) struct Remark {
    /// A code of this command, of an error of a dependency, or of a state of the head.
    pub(super) code: &'static str,
    /// The setting to change.
    pub(super) setting: Option<&'static str>,
    /// The endpoint, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    pub(super) text: String,
}

impl Remark {
    pub(super) const fn new(
        code: &'static str,
        setting: Option<&'static str>,
        text: String,
    ) -> Self {
        Self { code, setting, url: None, text }
    }
}

/// The light client at L1's final block.
#[derive(Debug, Serialize)]
pub(super) struct LightClient {
    pub(super) contract: Address,
    pub(super) height: Option<u64>,
    /// The hash that it keeps of the root over the headers below that height.
    pub(super) root: Option<U256>,
    pub(super) error: Option<String>,
}

/// The state file.
#[derive(Debug, Serialize)]
pub(super) struct Stored {
    pub(super) path: PathBuf,
    /// The head in it; none if there is no file.
    pub(super) number: Option<u64>,
    pub(super) hash: Option<B256>,
    pub(super) restart_hotshot_height: Option<u64>,
    pub(super) error: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoints.iter().try_for_each(|endpoint| write!(f, "{endpoint}"))?;
        writeln!(f)?;
        for (name, value) in self.rows() {
            writeln!(f, "{name:<15} {value}")?;
        }
        for (heading, remarks) in [("Worth knowing", &self.notes), ("Wrong", &self.problems)] {
            if !remarks.is_empty() {
                writeln!(f, "\n{heading}:")?;
            }
            remarks.iter().try_for_each(|remark| writeln!(f, "  {remark}"))?;
        }
        writeln!(f, "\n{}", if self.ok { "Nothing is wrong." } else { "Not ready to run." })
    }
}

impl Report {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let unknown = || "unknown".to_owned();
        let chain = self.chain.map_or_else(unknown, |chain| {
            let Chain { chain_id, l1_chain_id, genesis_hash, .. } = chain;
            format!("{chain_id}, on L1 {l1_chain_id}, genesis {genesis_hash}")
        });
        let finalized = self.l1_finalized.map_or_else(unknown, |block| block.to_string());
        let head = match &self.first_head {
            Some(head) => {
                let hash = head.hash.as_deref().unwrap_or("hash unknown");
                let source = json!(head.source);
                let (source, status) = (source.as_str().unwrap_or_default(), head.status.as_str());
                format!("{} ({hash}) by {source}, {status}", head.number)
            }
            None => "none yet".into(),
        };
        let mut rows = vec![
            ("chain", chain),
            ("L1 is final at", finalized),
            ("namespace", self.namespace.as_ref().map_or_else(unknown, ToString::to_string)),
            ("batchers", self.batchers()),
        ];
        rows.extend(self.parent.as_ref().map(|parent| ("parent chain", parent.to_string())));
        rows.extend(self.light_client.as_ref().map(|client| ("light client", client.to_string())));
        rows.extend([
            ("hotshot_proofs", self.proofs()),
            ("state file", self.store.to_string()),
            ("first head", head),
            ("state", format!("{}: {}", self.reason_code, self.reason)),
        ]);
        rows
    }

    fn proofs(&self) -> String {
        let ProofFindings { mode, audited, problem, .. } = &self.proofs;
        match (problem, audited) {
            (Some(problem), _) => format!("{mode}: {problem}"),
            (None, Some(height)) => {
                format!("{mode}, compared with L1 below HotShot block {height}")
            }
            (None, None) => format!("{mode}, nothing compared with L1"),
        }
    }

    fn batchers(&self) -> String {
        let BatcherFindings { contract, tenures, read_at, error, .. } = &self.batchers;
        let tenures: Vec<_> = tenures.iter().map(ToString::to_string).collect();
        match (tenures.is_empty(), error, contract) {
            (_, Some(error), _) => error.clone(),
            (true, None, None) => "unknown".into(),
            (_, None, None) => format!("{}, by batcher_addresses", tenures.join(", ")),
            (_, None, Some(contract)) => {
                let at = read_at.map_or(0, |block| block.number);
                format!("{}, by contract {contract} at L1 block {at}", tenures.join(", "))
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, url, version, chain_id, latest, latency_ms, .. } = self;
        let facts = [
            version.clone(),
            chain_id.map(|id| format!("chain {id}")),
            latest.map(|number| match *setting {
                "query_service_url" => format!("height {number}"),
                "node_consensus_rpc" => format!("safe {number}"),
                _ => format!("latest {number}"),
            }),
            self.safe_head_database.map(|kept| {
                if kept { "safe-head database" } else { "no safe-head database" }.into()
            }),
            self.state_depth.map(|depth| format!("state of {depth} blocks below the final one")),
            self.genesis_block.map(|number| format!("first block {number}")),
            self.block_state
                .map(|served| if served { "block-state" } else { "no block-state" }.into()),
            latency_ms.map(|took| format!("{took} ms")),
        ];
        let facts: Vec<_> = facts.into_iter().flatten().collect();
        writeln!(f, "{setting:<19} {url} {}", facts.join(", "))?;
        for missing in &self.missing {
            writeln!(f, "{:<19} no {}: {}", "", missing.question, missing.code)?;
        }
        if let Some(calls) = &self.calls_per_hour {
            let all: u64 = calls.values().sum();
            let each: Vec<_> =
                calls.iter().map(|(purpose, count)| format!("{purpose} {count}")).collect();
            writeln!(f, "{:<19} {all} calls per hour: {}", "", each.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, read: (from, until), last_batch, .. } = self;
        match last_batch {
            Some(batch) => write!(
                f,
                "{id}, whose newest batch is for block {}, in HotShot block {}, by {}",
                batch.number, batch.hotshot_height, batch.signer
            ),
            None => write!(f, "{id}, without a batch in HotShot blocks {from}..{until}"),
        }
    }
}

impl fmt::Display for LightClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.height, &self.error) {
            (Some(height), _) => {
                let root = self.root.unwrap_or_default();
                write!(f, "{}, at HotShot height {height} with root {root:#x}", self.contract)
            }
            (None, Some(error)) => write!(f, "{}: {error}", self.contract),
            (None, None) => write!(f, "{}, not asked", self.contract),
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match (&self.error, self.number) {
            (Some(error), _) => f.write_str(error),
            (None, Some(number)) => write!(f, "{path}, with head {number}"),
            (None, None) => write!(f, "{path}, not there yet"),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, setting, url, text } = self;
        let place: Vec<_> = setting.iter().copied().chain(url.as_deref()).collect();
        match place.is_empty() {
            true => write!(f, "{code}: {text}"),
            false => write!(f, "{code} ({}): {text}", place.join(" ")),
        }
    }
}
