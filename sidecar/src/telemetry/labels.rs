//! The labels of the metrics: closed sets, never a URL or a text from the wire.

use prometheus_client::encoding::EncodeLabelSet;

/// What became of a batch that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchResult {
    /// It equals the node's block.
    Confirmed,
    /// The node's block of that number is another one.
    Mismatch,
    /// Its L1 origin is not final yet, or L1 gave no answer.
    Undecided,
    /// It cannot be the next block: another fork, or an L1 origin that Ethereum did not keep.
    Skipped,
}

impl BatchResult {
    pub(super) const ALL: [Self; 4] =
        [Self::Confirmed, Self::Mismatch, Self::Undecided, Self::Skipped];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Mismatch => "mismatch",
            Self::Undecided => "undecided",
            Self::Skipped => "skipped",
        }
    }
}

/// A dependency of the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The full node's execution RPC.
    Node,
    /// The full node's consensus RPC.
    Consensus,
    /// A HotShot query service.
    Query,
    /// The L1 RPC.
    L1,
    /// The RPC of the chain that a rollup settles on, where that is not L1.
    Parent,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 5] = [Self::Node, Self::Consensus, Self::Query, Self::L1, Self::Parent];

    /// The name in metrics and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Consensus => "consensus",
            Self::Query => "query",
            Self::L1 => "l1",
            Self::Parent => "parent",
        }
    }
}

/// How a request to a dependency ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A usable answer.
    Ok,
    /// The dependency does not have it yet.
    NotYet,
    /// No answer in time.
    Timeout,
    /// No connection, an error status, an error object or an answer that makes no sense.
    Error,
}

impl Outcome {
    pub(super) const ALL: [Self; 4] = [Self::Ok, Self::NotYet, Self::Timeout, Self::Error];

    /// The name in metrics and traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotYet => "not_yet",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

/// What was wrong with one of several query services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryFault {
    /// No usable answer.
    Error,
    /// Another answer than the majority's.
    Outvoted,
    /// Slower than the others.
    Late,
    /// Far behind the others.
    Behind,
}

impl QueryFault {
    pub(super) const ALL: [Self; 4] = [Self::Error, Self::Outvoted, Self::Late, Self::Behind];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Outvoted => "outvoted",
            Self::Late => "late",
            Self::Behind => "behind",
        }
    }
}

/// What a call to a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Which chain it is.
    ChainId,
    /// The latest block.
    Latest,
    /// The finalized block.
    Finalized,
    /// Hash or time of a block.
    Hash,
    /// A block with its transactions.
    Block,
    /// A contract's answer.
    Contract,
    /// A contract's events.
    Logs,
    /// The rollup's configuration.
    Config,
    /// What op-node has derived.
    SyncStatus,
    /// op-node's safe-head database.
    SafeHead,
    /// HotShot's height.
    Height,
    /// The namespace in HotShot blocks.
    Namespace,
    /// Headers of HotShot blocks.
    Header,
    /// How many blocks may be requested at once.
    Limits,
    /// Anything else.
    Other,
}

impl Purpose {
    /// What a dependency is asked for.
    pub(super) const fn of(target: Target) -> &'static [Self] {
        match target {
            Target::Node => {
                &[Self::ChainId, Self::Latest, Self::Finalized, Self::Hash, Self::Block]
            }
            Target::Consensus => &[Self::Config, Self::SyncStatus, Self::SafeHead],
            Target::Query => &[Self::Height, Self::Namespace, Self::Header, Self::Limits],
            Target::L1 | Target::Parent => &[
                Self::ChainId,
                Self::Latest,
                Self::Finalized,
                Self::Hash,
                Self::Contract,
                Self::Logs,
            ],
        }
    }

    /// The name in metrics, and in what `check` counts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChainId => "chain_id",
            Self::Latest => "latest",
            Self::Finalized => "finalized",
            Self::Hash => "hash",
            Self::Block => "block",
            Self::Contract => "contract",
            Self::Logs => "logs",
            Self::Config => "config",
            Self::SyncStatus => "sync_status",
            Self::SafeHead => "safe_head",
            Self::Height => "height",
            Self::Namespace => "namespace",
            Self::Header => "header",
            Self::Limits => "limits",
            Self::Other => "other",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct QueryFaultLabels {
    pub(super) service: u64,
    pub(super) fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BadAnswerLabels {
    pub(super) service: u64,
    pub(super) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabel {
    pub(super) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TargetLabel {
    pub(super) target: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UpstreamLabels {
    pub(super) target: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HttpLabels {
    pub(super) path: &'static str,
    pub(super) code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    pub(super) target: &'static str,
    pub(super) purpose: &'static str,
}

impl CallLabels {
    pub(super) const fn of(target: Target, purpose: Purpose) -> Self {
        Self { target: target.as_str(), purpose: purpose.as_str() }
    }
}
