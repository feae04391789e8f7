//! The gauges, computed when they are asked for: what is not known yet is not exported, and the lag
//! follows from head and node.

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
}

/// What the gauges show. Nothing is exported before it is known: zero is a legal block number.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) standing: Standing,
    pub(super) node_finalized: Option<u64>,
    pub(super) l1_finalized: Option<u64>,
    pub(super) hotshot: Option<(u64, u64)>,
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
        let Standing { head, node_latest, lag, stall, stalls } = facts.standing;
        if !stalls.is_empty() {
            let stalls: Vec<_> = stalls.iter().map(|code| (*code, *code == stall)).collect();
            one_of(
                &mut encoder,
                "verifier_stalled",
                "1 for the state of the head, 0 for the others; up_to_date and advancing are good",
                "reason",
                &stalls,
            )?;
        }
        if let Some(head) = head {
            gauge(
                &mut encoder,
                "head_block_number",
                "The head: the L2 block number that tags become",
                head.number,
            )?;
            gauge_with_unit(
                &mut encoder,
                "head_updated_timestamp",
                "Unix time at which number or status of the head last changed",
                Unit::Seconds,
                head.updated.as_millisecond() as f64 / 1000.0,
            )?;
            one_of(
                &mut encoder,
                "head_source",
                "1 for the chain that confirmed the head's block, 0 for the other",
                "source",
                &[
                    ("espresso", head.source == Source::Espresso),
                    ("ethereum", head.source == Source::Ethereum),
                ],
            )?;
            let statuses = [Status::Ok, Status::Diverged, Status::NodeBehind, Status::Pruned]
                .map(|status| (status.as_str(), status == head.status));
            one_of(
                &mut encoder,
                "head_status",
                "1 for the head's status, 0 for the others; tags are refused in diverged and node_behind",
                "status",
                &statuses,
            )?;
        }
        if let Some(latest) = node_latest {
            gauge(
                &mut encoder,
                "node_latest_block_number",
                "The full node's latest block",
                latest,
            )?;
        }
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
        if let Some(lag) = lag {
            gauge(
                &mut encoder,
                "head_lag_blocks",
                "Blocks between the head and the full node's latest block; zero while the node is behind the head",
                lag,
            )?;
        }
        if let Some((done, seconds_left)) = facts.catch_up {
            gauge(
                &mut encoder,
                "hotshot_catch_up_ratio",
                "How much of a long way to HotShot's tip is done; absent when there is none",
                done,
            )?;
            if let Some(left) = seconds_left {
                gauge_with_unit(
                    &mut encoder,
                    "hotshot_catch_up_remaining",
                    "Time left until HotShot's tip is reached, at the recent rate",
                    Unit::Seconds,
                    left as f64,
                )?;
            }
        }
        if let Some((seen, latest)) = facts.hotshot {
            let mut family = encoder.encode_descriptor(
                "hotshot_height",
                "HotShot height: read up to here (seen), and reached by the query service (latest)",
                None,
                MetricType::Gauge,
            )?;
            for (kind, height) in [("seen", seen), ("latest", latest)] {
                let labels = [("kind", kind)];
                ConstGauge::new(height).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

pub(super) fn gauge<N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: N,
) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

pub(super) fn gauge_with_unit<N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Unit,
    value: N,
) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let encoder = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

/// A gauge for each value of a closed set, 1 for the one that holds.
fn one_of(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: &[(&str, bool)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (value, holds) in values {
        let labels = [(label, *value)];
        ConstGauge::new(u64::from(*holds)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
