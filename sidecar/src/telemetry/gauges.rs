//! The gauges, computed when they are asked for: what is not known yet is not exported.

use std::{fmt, sync::Arc};

use finality_core::head::{Source, Status};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

use super::encode::{gauge, gauge_with_unit, one_of};

/// The head as the gauges show it.
#[derive(Debug, Clone, Copy)]
pub struct HeadFacts {
    pub number: u64,
    pub source: Source,
    pub status: Status,
    /// When number or status last changed.
    pub updated: Timestamp,
}

/// The positions of head and node at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    pub head: Option<HeadFacts>,
    pub node_latest: Option<u64>,
    /// Blocks from the head to the node's latest block.
    pub lag: Option<u64>,
    /// The code of the head's state, one of `stalls`.
    pub stall: &'static str,
    /// All such codes.
    pub stalls: &'static [&'static str],
    /// The rollup's chain id, once it is known.
    pub chain_id: Option<u64>,
}

/// What the gauges show. Nothing is exported before it is known: zero is a legal block number.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) standing: Standing,
    pub(super) node_finalized: Option<u64>,
    pub(super) l1_finalized: Option<u64>,
    pub(super) hotshot: Option<(u64, u64)>,
    /// By their labels.
    pub(super) proven: [(&'static str, Option<u64>); 2],
    pub(super) hash_since: Option<u64>,
    pub(super) catch_up: Option<(f64, Option<u64>)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Gauges(Arc<Mutex<Facts>>);

impl Gauges {
    /// What is known, to be changed.
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let facts = self.facts();
        encode_standing(&mut encoder, facts.standing)?;
        if let Some(finalized) = facts.node_finalized {
            gauge(
                &mut encoder,
                "node_finalized_block_number",
                "The block that the full node calls finalized, admitted or not",
                finalized,
            )?;
        }
        if let Some(finalized) = facts.l1_finalized {
            gauge(
                &mut encoder,
                "l1_finalized_block_number",
                "The newest L1 block that Ethereum has finalized",
                finalized,
            )?;
        }
        if let Some((done, seconds_left)) = facts.catch_up {
            encode_catch_up(&mut encoder, done, seconds_left)?;
        }
        if let Some((seen, latest)) = facts.hotshot {
            let mut family = encoder.encode_descriptor(
                "hotshot_height",
                "HotShot height: read up to here (seen), reached by the query service (latest), on L1 (light_client), and compared with that (audited); since which it proves the hash of each block, not its inputs alone (hash_since)",
                None,
                MetricType::Gauge,
            )?;
            let hash_since = ("hash_since", facts.hash_since);
            let proven = facts.proven.iter().chain([&hash_since]);
            let proven = proven.filter_map(|(kind, height)| Some((*kind, (*height)?)));
            for (kind, height) in [("seen", seen), ("latest", latest)].into_iter().chain(proven) {
                let labels = [("kind", kind)];
                ConstGauge::new(height).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode_standing(encoder: &mut DescriptorEncoder<'_>, standing: Standing) -> fmt::Result {
    let Standing { head, node_latest, lag, stall, stalls, chain_id } = standing;
    if !stalls.is_empty() {
        let stalls: Vec<_> = stalls.iter().map(|code| (*code, *code == stall)).collect();
        one_of(
            encoder,
            "verifier_stalled",
            "1 for the state of the head, 0 for the others; up_to_date and advancing are good",
            "reason",
            &stalls,
        )?;
        let chain_id = chain_id.map(|id| id.to_string()).unwrap_or_default();
        one_of(
            encoder,
            "chain_info",
            "Always 1; the label is the rollup's chain id, empty until it is known",
            "chain_id",
            &[(&chain_id, true)],
        )?;
    }
    if let Some(head) = head {
        encode_head(encoder, head)?;
    }
    if let Some(latest) = node_latest {
        gauge(encoder, "node_latest_block_number", "The full node's latest block", latest)?;
    }
    if let Some(lag) = lag {
        gauge(
            encoder,
            "head_lag_blocks",
            "Blocks between the head and the full node's latest block; zero while the node is behind the head",
            lag,
        )?;
    }
    Ok(())
}

fn encode_head(encoder: &mut DescriptorEncoder<'_>, head: HeadFacts) -> fmt::Result {
    gauge(
        encoder,
        "head_block_number",
        "The head: the L2 block number that tags become",
        head.number,
    )?;
    gauge_with_unit(
        encoder,
        "head_updated_timestamp",
        "Unix time at which number or status of the head last changed",
        Unit::Seconds,
        head.updated.as_millisecond() as f64 / 1000.0,
    )?;
    let sources = [("espresso", Source::Espresso), ("ethereum", Source::Ethereum)];
    one_of(
        encoder,
        "head_source",
        "1 for the chain that confirmed the head's block, 0 for the other",
        "source",
        &sources.map(|(name, source)| (name, source == head.source)),
    )?;
    one_of(
        encoder,
        "head_status",
        "1 for the head's status, 0 for the others; tags are served in ok and pruned",
        "status",
        &Status::ALL.map(|status| (status.as_str(), status == head.status)),
    )
}

fn encode_catch_up(
    encoder: &mut DescriptorEncoder<'_>,
    done: f64,
    seconds_left: Option<u64>,
) -> fmt::Result {
    gauge(
        encoder,
        "hotshot_catch_up_ratio",
        "How much of a long catch-up with HotShot is done; absent when there is none",
        done,
    )?;
    if let Some(left) = seconds_left {
        gauge_with_unit(
            encoder,
            "hotshot_catch_up_remaining",
            "Time left until HotShot's tip is reached, at the recent rate",
            Unit::Seconds,
            left as f64,
        )?;
    }
    Ok(())
}
