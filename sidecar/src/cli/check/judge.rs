//! What is wrong, and what is only worth knowing, by what was found.

use alloy_primitives::Address;
use strum::{IntoStaticStr, VariantNames};

use super::{
    endpoints::Endpoint,
    parent::ParentChain,
    report::{LightClient, Remark, Report},
};
use crate::{
    config::Config,
    upstream::UpstreamError,
    verifier::{Findings, Stall, StallKind},
};

/// What this command itself finds, beside the errors of dependencies and the states of the head.
/// The code of a variant is its name in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Found {
    /// An endpoint is of another chain than the others.
    OtherChain,
    /// The light client could not be read.
    LightClientUnreadable,
    /// The light client is ahead of HotShot.
    LightClientAhead,
    /// The namespace has no batch in the newest HotShot blocks.
    NoBatch,
    /// A single endpoint is trusted.
    SingleVoter,
    /// No endpoint may fail.
    AllVotersNeeded,
    /// A query service does not show what is under the light client's root.
    NoBlockState,
    /// op-node keeps no safe-head database.
    NoSafeHeadDatabase,
    /// op-node calls blocks finalized that L1 has not finalized.
    ExecutionLayerSync,
    /// A Nitro node has no NodeInterface.
    NoNodeInterface,
    /// There is no bridge of Arbitrum at the address.
    NoBridge,
    /// There is no sequencer inbox of Arbitrum at the address.
    NoSequencerInbox,
    /// The sequencer inbox belongs to another bridge.
    OtherBridge,
}

impl Found {
    /// All codes.
    pub const CODES: &[&str] = Self::VARIANTS;
}

/// The settings of which a majority must agree.
const VOTERS: [&str; 3] = ["l1_rpc", "parent_rpc", "query_service_url"];

fn remark(found: Found, setting: &'static str, text: impl Into<String>) -> Remark {
    Remark::new(found.into(), Some(setting), text.into())
}

/// What the endpoints lack, and those that are of another chain.
pub(super) fn of_endpoints(endpoints: &[Endpoint]) -> Vec<Remark> {
    let mut problems = Vec::new();
    for endpoint in endpoints {
        for missing in &endpoint.missing {
            let text = format!("{}: {}", missing.question, missing.text);
            let url = Some(endpoint.url.clone());
            let missing = Remark::new(missing.code, Some(endpoint.setting), text);
            problems.push(Remark { url, ..missing });
        }
        if let Some((is, expected)) = other_chain(endpoints, endpoint) {
            let text = format!("it is of chain {is}, not {expected}");
            let other = remark(Found::OtherChain, endpoint.setting, text);
            problems.push(Remark { url: Some(endpoint.url.clone()), ..other });
        }
    }
    problems.extend(VOTERS.into_iter().filter_map(|setting| {
        let all: Vec<_> = of_setting(endpoints, setting).collect();
        if all.is_empty() {
            return None;
        }
        let usable = all.iter().filter(|endpoint| {
            endpoint.missing.is_empty() && other_chain(endpoints, endpoint).is_none()
        });
        let (usable, needed) = (usable.count(), all.len() / 2 + 1);
        let text = format!("{usable} of {} can be used, and {needed} must agree", all.len());
        let code = UpstreamError::NoMajority(String::new()).code();
        (usable < needed).then(|| Remark::new(code, Some(setting), text))
    }));
    problems
}

fn of_setting<'a>(
    endpoints: &'a [Endpoint],
    setting: &'a str,
) -> impl Iterator<Item = &'a Endpoint> {
    endpoints.iter().filter(move |endpoint| endpoint.setting == setting)
}

/// The chain id of an endpoint, and the one that it should have.
fn other_chain(endpoints: &[Endpoint], endpoint: &Endpoint) -> Option<(u64, u64)> {
    let first = |setting| of_setting(endpoints, setting).find_map(|endpoint| endpoint.chain_id);
    let rollup = || endpoints.iter().find_map(|endpoint| endpoint.rollup.as_ref());
    let expected = match endpoint.setting {
        // One that all name is not another one: that of the node counts.
        "l1_rpc" => rollup().map(|rollup| rollup.l1_chain_id),
        "parent_rpc" => first("parent_rpc"),
        _ => first("node_execution_rpc"),
    }?;
    endpoint.chain_id.filter(|is| *is != expected).map(|is| (is, expected))
}

/// What follows from the number of voters, and from what op-node says.
pub(super) fn notes(endpoints: &[Endpoint], findings: &Findings) -> Vec<Remark> {
    let mut notes = Vec::new();
    for setting in VOTERS {
        match of_setting(endpoints, setting).count() {
            1 => notes.push(remark(
                Found::SingleVoter,
                setting,
                "the only one, which is trusted; of three, one may fail or lie",
            )),
            2 => notes.push(remark(
                Found::AllVotersNeeded,
                setting,
                "both must answer and agree; of three, one may fail or lie",
            )),
            _ => {}
        }
    }
    for endpoint in of_setting(endpoints, "query_service_url") {
        if endpoint.block_state == Some(false) {
            let text = "it does not serve block-state: if no service does, HotShot is not compared with the light client, and with hotshot_proofs root the head waits";
            let remark = remark(Found::NoBlockState, endpoint.setting, text);
            notes.push(Remark { url: Some(endpoint.url.clone()), ..remark });
        }
    }
    for endpoint in of_setting(endpoints, "node_consensus_rpc") {
        if endpoint.safe_head_database != Some(false) {
            continue;
        }
        let of_it = |found, text: String| {
            let url = Some(endpoint.url.clone());
            Remark { url, ..remark(found, endpoint.setting, text) }
        };
        let origin = endpoint.sync.as_ref().and_then(|sync| sync.finalized_l2);
        let origin = origin.map(|finalized| finalized.l1_origin.number);
        let l1 = findings.l1_finalized.map(|block| block.number);
        notes.push(match origin.zip(l1) {
            Some((origin, l1)) if origin > l1 => of_it(
                Found::ExecutionLayerSync,
                format!(
                    "op-node calls a block finalized whose L1 origin {origin} is above L1's final block {l1}, as after execution-layer sync, and keeps no safe-head database: set its --safedb.path and --syncmode.offset-el-safe (docs/nodes.md)"
                ),
            ),
            _ => of_it(
                Found::NoSafeHeadDatabase,
                "op-node keeps no safe-head database: a first start waits about 15 minutes for a proof of finality; set its --safedb.path".into(),
            ),
        });
    }
    notes
}

/// What is wrong with the state of the head after a few rounds, unless it follows from what is
/// known already; and what is worth knowing.
pub(super) fn of_state(stall: &Stall, report: &Report) -> (Option<Remark>, Option<Remark>) {
    let remark = |setting| Some(Remark::new(stall.code(), setting, stall.to_string()));
    let setting = match StallKind::from(stall) {
        StallKind::ConfigMismatch | StallKind::Mismatch | StallKind::Diverged => None,
        StallKind::BatchersUnknown | StallKind::CompetingFork => {
            Some("batch_authenticator_address")
        }
        StallKind::StartHeightUnknown | StallKind::CheckpointContradicts => {
            Some("light_client_address")
        }
        StallKind::StoreUnwritable => Some("store_path"),
        StallKind::CutOff | StallKind::ClusterRegressed | StallKind::QuorumShort => Some("store"),
        StallKind::Unproven
        | StallKind::CheckpointUnavailable
        | StallKind::FeedUnavailable
        | StallKind::AnswerDisproven
        | StallKind::PositionUnavailable => Some("query_service_url"),
        StallKind::L1Unavailable | StallKind::L1NoMajority => Some("l1_rpc"),
        StallKind::ParentUnavailable => Some("parent_rpc"),
        StallKind::HashUnsigned => Some("nitro_require"),
        StallKind::NodeUnavailable | StallKind::NodeBehind => Some("node_execution_rpc"),
        // Without an answer in time, or without a head for no other reason.
        StallKind::ChainUnknown | StallKind::NoAnchor | StallKind::Starting => None,
        StallKind::FinalityUnproven
        | StallKind::FallbackBatcherActive
        | StallKind::CatchingUp
        | StallKind::HashHidden
        | StallKind::Superseded
        | StallKind::HeadHashUnknown => return (None, remark(None)),
        StallKind::Advancing
        | StallKind::UpToDate
        | StallKind::AwaitingBatch
        | StallKind::AwaitingBatcherHistory
        | StallKind::AwaitingL1Finality
        | StallKind::AwaitingParentFinality
        | StallKind::AwaitingCheckpoint
        | StallKind::NodeMissingBlock => return (None, None),
    };
    let follows = matches!(
        stall,
        Stall::ChainUnknown(_)
            | Stall::NoAnchor(_)
            | Stall::Starting
            | Stall::FeedUnavailable(_)
            | Stall::AnswerDisproven(_)
            | Stall::NodeUnavailable(_)
            | Stall::L1Unavailable { .. }
            | Stall::L1NoMajority { .. }
            | Stall::StartHeightUnknown(_)
            | Stall::BatchersUnknown(_)
    ) && !report.problems.is_empty();
    let follows = follows || report.problems.iter().any(|known| known.code == stall.code());
    (remark(setting).filter(|_| !follows), None)
}

/// What a Nitro chain's nodes lack.
pub(super) fn of_nitro_nodes(endpoints: &[Endpoint]) -> impl Iterator<Item = Remark> {
    let nodes = endpoints.iter().filter(|endpoint| {
        let is_node = ["node_execution_rpc", "node_unrouted_rpc"].contains(&endpoint.setting);
        is_node && endpoint.missing.is_empty() && endpoint.genesis_block.is_none()
    });
    nodes.map(|endpoint| {
        let text = "it has no NodeInterface, so what Ethereum has finalized cannot be told";
        let url = Some(endpoint.url.clone());
        Remark { url, ..remark(Found::NoNodeInterface, endpoint.setting, text) }
    })
}

/// What is wrong with the parent chain of a Nitro chain, or with its contracts there.
pub(super) fn of_parent(parent: &ParentChain, bridge: Address) -> Vec<Remark> {
    let unread =
        |error: &UpstreamError| Remark::new(error.code(), Some("parent_rpc"), error.to_string());
    // Where there is no such contract, nothing answers.
    let without = |error: &UpstreamError, found, setting| match error {
        UpstreamError::Malformed(text) => remark(found, setting, text.clone()),
        error => unread(error),
    };
    let mut problems: Vec<_> = parent.unread.iter().map(unread).collect();
    problems.extend(
        parent
            .without_bridge
            .as_ref()
            .map(|error| without(error, Found::NoBridge, "bridge_address")),
    );
    problems.extend(
        parent
            .without_inbox
            .as_ref()
            .map(|error| without(error, Found::NoSequencerInbox, "sequencer_inbox_address")),
    );
    problems.extend(parent.bridge.filter(|named| *named != bridge).map(|named| {
        let text = format!("the sequencer inbox belongs to the bridge {named}");
        remark(Found::OtherBridge, "bridge_address", text)
    }));
    problems
}

/// Whether the light client and HotShot fit together.
pub(super) fn of_light_client(client: &LightClient, hotshot: Option<u64>) -> Option<Remark> {
    const SETTING: &str = "light_client_address";
    if let Some(error) = &client.error {
        return Some(remark(Found::LightClientUnreadable, SETTING, error.clone()));
    }
    let (height, hotshot) = client.height.zip(hotshot)?;
    let text = format!(
        "it is at HotShot height {height}, the query services at {hotshot}: they are of different networks, or the services lag"
    );
    (height > hotshot).then(|| remark(Found::LightClientAhead, SETTING, text))
}

/// Whether the namespace has batches.
pub(super) fn of_namespace(
    report: &Report,
    findings: &Findings,
    config: &Config,
) -> Option<Remark> {
    let namespace = report.namespace.as_ref().filter(|namespace| namespace.last_batch.is_none())?;
    let batchers = &report.batchers;
    let fallback = batchers.active_is_espresso == Some(false);
    let none_expected = findings.node.latest.is_none_or(|latest| latest == 0);
    if fallback || none_expected || batchers.tenures.is_empty() {
        return None;
    }
    let (from, until) = namespace.read;
    let other = namespace.other_signer.map_or_else(String::new, |signer| {
        let list = match config.batcher_addresses {
            Some(_) => "batcher_addresses",
            None => "batch_authenticator_address",
        };
        format!("; there is a payload by {signer}, which is not an authorized batcher ({list})")
    });
    let text = format!(
        "namespace {} has no batch in HotShot blocks {from}..{until}: the namespace, the network of query_service_url or the batchers are wrong, or the batcher stands still{other}",
        namespace.id
    );
    Some(remark(Found::NoBatch, "namespace", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_parent_chain_has_a_code_and_a_setting() {
        let bridge = Address::repeat_byte(1);
        let right = || ParentChain { bridge: Some(bridge), ..ParentChain::default() };
        let down = || Some(UpstreamError::Connection(String::new()));
        let nothing = || Some(UpstreamError::Malformed(String::new()));
        let other = Some(Address::repeat_byte(2));
        for (parent, expected) in [
            (right(), None),
            (ParentChain { unread: down(), ..right() }, Some(("connection", "parent_rpc"))),
            (ParentChain { without_bridge: down(), ..right() }, Some(("connection", "parent_rpc"))),
            (
                ParentChain { without_bridge: nothing(), ..right() },
                Some(("no_bridge", "bridge_address")),
            ),
            (
                ParentChain { without_inbox: nothing(), ..right() },
                Some(("no_sequencer_inbox", "sequencer_inbox_address")),
            ),
            (ParentChain { bridge: other, ..right() }, Some(("other_bridge", "bridge_address"))),
        ] {
            let found = of_parent(&parent, bridge);
            let found: Vec<_> =
                found.iter().map(|remark| (remark.code, remark.setting.unwrap())).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_code_means_two_things() {
        let mut codes = [Found::CODES, UpstreamError::CODES, Stall::CODES].concat();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }
}
