//! The state of the head: a stable code for machines, and a sentence for operators.

use std::{fmt, time::Duration};

use alloy_primitives::B256;
use jiff::Timestamp;
use strum::{EnumDiscriminants, IntoStaticStr, VariantArray, VariantNames};
use tokio::time::Instant;

use crate::{eth::BlockId, rollup::Waiting, upstream::UpstreamError};

/// Why the head does not advance; or that it does, or need not. The code of a variant is its name
/// in snake case.
#[derive(Debug, Clone, PartialEq, Eq, Default, EnumDiscriminants, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
#[strum_discriminants(
    name(StallKind),
    doc = "A [`Stall`] without its details.",
    derive(IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum Stall {
    /// The first round has not ended.
    #[default]
    Starting,
    /// The running round has moved the head, or has more to do.
    Advancing,
    /// The head is the node's latest block, and HotShot, read to its tip, has no batch beyond it.
    /// Its newest block may be unread: the payload can come later than the height.
    UpToDate { number: u64 },
    /// The node, what describes its chain, or L1 could not be asked which chain it is.
    ChainUnknown(String),
    /// Settings or chains do not fit together.
    ConfigMismatch(String),
    /// The authorized batchers are not known.
    BatchersUnknown(String),
    /// There is no block to start from.
    NoAnchor(String),
    /// Nothing proves that L1 has finalized what the node calls finalized; the head waits for that.
    FinalityUnproven { number: u64 },
    /// The HotShot height to start from is not known.
    StartHeightUnknown(String),
    /// HotShot cannot be read.
    FeedUnavailable(String),
    /// What the query services answer for the next HotShot block is not what its header shows.
    AnswerDisproven(String),
    /// HotShot, as the light client on L1 has it, does not have what moved the head.
    Unproven { number: u64 },
    /// The light client contradicts what was read of HotShot, as far as it was read once.
    CheckpointContradicts { number: u64, height: u64 },
    /// The next batch is in a HotShot block that the light client does not cover yet.
    AwaitingCheckpoint { number: u64, height: u64, covered: Option<u64> },
    /// What is under the light client's root cannot be found out.
    CheckpointUnavailable(String),
    /// The services do not have the next HotShot block to read, which is below their newest ones or
    /// above all of them.
    PositionUnavailable { cursor: u64, height: u64 },
    /// HotShot is not read to its tip yet; `cursor` is the next height to read.
    CatchingUp { cursor: u64, height: u64 },
    /// HotShot has no batch for the next block.
    AwaitingBatch { number: u64 },
    /// HotShot has no batch for the next block, and should not have one.
    FallbackBatcherActive { number: u64 },
    /// HotShot has batches for the next block, but none that extends the head.
    CompetingFork {
        number: u64,
        /// How many do not extend the head.
        other_fork: usize,
        /// How many are built on L1 blocks that are not the final ones.
        orphaned_origin: usize,
        /// How many are signed by a key that is not authorized at their L1 origin.
        unauthorized: usize,
    },
    /// The L1 origin of the next batch is final, but the contract was not read up to there.
    AwaitingBatcherHistory { number: u64, origin: BlockId },
    /// The L1 origin of the next batch is not final.
    AwaitingL1Finality { number: u64, origin: BlockId, finalized: Option<BlockId> },
    /// L1 gave no answer about the L1 origin of the next batch.
    L1Unavailable { number: u64, origin: BlockId, problem: String },
    /// Too few L1 endpoints agree about the L1 origin of the next batch.
    L1NoMajority { number: u64, origin: BlockId, problem: String },
    /// The next block has read a message of the delayed inbox that the parent chain has not
    /// finalized.
    AwaitingParentFinality { number: u64, index: u64, finalized: Option<BlockId> },
    /// The parent chain gave no answer about that message.
    ParentUnavailable { number: u64, index: u64, problem: String },
    /// Nothing on HotShot signs the hash of the next block, which must be proven.
    HashUnsigned { number: u64 },
    /// The signature of the next message may be over the hash of another block.
    HashHidden { number: u64 },
    /// The next message on HotShot is of before a reorg of the parent chain.
    Superseded { number: u64 },
    /// The node does not have the next block.
    NodeMissingBlock { number: u64 },
    /// The node cannot be read.
    NodeUnavailable(String),
    /// The node's block is not what HotShot confirmed.
    Mismatch { number: u64, difference: String },
    /// The node's block at the head is another one.
    Diverged { number: u64, confirmed: B256, node: B256 },
    /// The node's latest block is below the head.
    NodeBehind { number: u64, latest: u64 },
    /// The hash of an imported head is not known.
    HeadHashUnknown { number: u64 },
    /// The head could not be saved.
    StoreUnwritable(String),
    /// The engine that all replicas publish in is silent, so the head is not used any more.
    CutOff(String),
    /// That engine has lost a head that it had acknowledged.
    ClusterRegressed,
    /// Fewer replicas than `publish_quorum` have verified what follows.
    QuorumShort,
}

impl Stall {
    /// All codes.
    pub const CODES: &[&str] = Self::VARIANTS;

    /// Whether a copy that is not read yet may prove the block that waits.
    pub(super) const fn may_end_by_a_copy(&self) -> bool {
        matches!(
            self,
            Self::HashUnsigned { .. }
                | Self::HashHidden { .. }
                | Self::Superseded { .. }
                | Self::AwaitingParentFinality { .. }
                | Self::ParentUnavailable { .. }
        )
    }

    /// Why the block with a number waits.
    #[must_use]
    pub fn of(number: u64, waiting: Waiting) -> Self {
        match waiting {
            Waiting::BatcherHistory(origin) => Self::AwaitingBatcherHistory { number, origin },
            Waiting::L1Finality { origin, finalized } => {
                Self::AwaitingL1Finality { number, origin, finalized }
            }
            Waiting::L1 { origin, problem } => {
                let text = problem.as_ref().map(ToString::to_string).unwrap_or_default();
                match problem {
                    Some(UpstreamError::NoMajority(_)) => {
                        Self::L1NoMajority { number, origin, problem: text }
                    }
                    _ => Self::L1Unavailable { number, origin, problem: text },
                }
            }
            Waiting::ParentFinality { index, finalized } => {
                Self::AwaitingParentFinality { number, index, finalized }
            }
            Waiting::Parent { index, problem } => {
                Self::ParentUnavailable { number, index, problem }
            }
            Waiting::HashUnsigned => Self::HashUnsigned { number },
            Waiting::HashHidden => Self::HashHidden { number },
            Waiting::Superseded => Self::Superseded { number },
        }
    }

    /// The code, one of [`Self::CODES`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.into()
    }

    /// Writes the line of a change to this state, as urgent as the need for a person.
    pub(super) fn log(&self) {
        let reason_code = self.code();
        match StallKind::from(self).person() {
            Person::Needed => tracing::error!(reason_code, "{self}"),
            Person::IfItLasts if !self.is_ordinary() => tracing::warn!(reason_code, "{self}"),
            _ => tracing::info!(reason_code, "{self}"),
        }
    }

    /// Whether an advancing head passes through this state all the time.
    const fn is_ordinary(&self) -> bool {
        matches!(self, Self::Advancing | Self::UpToDate { .. } | Self::AwaitingBatch { .. })
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting: the first round has not finished"),
            Self::Advancing => f.write_str("advancing: the running round is not finished"),
            Self::UpToDate { number } => {
                write!(f, "up to date: block {number} is the node's latest block")
            }
            Self::ChainUnknown(problem) => write!(f, "the chain is not known yet: {problem}"),
            Self::ConfigMismatch(problem) => write!(f, "wrong configuration: {problem}"),
            Self::BatchersUnknown(problem) => {
                write!(f, "the authorized batchers are not known: {problem}")
            }
            Self::NoAnchor(problem) => write!(f, "no block to start from yet: {problem}"),
            Self::FinalityUnproven { number } => write!(
                f,
                "it is not proven yet that L1 has finalized block {number}, which the node calls finalized"
            ),
            Self::StartHeightUnknown(problem) => {
                write!(f, "the HotShot height to start from is not known: {problem}")
            }
            Self::FeedUnavailable(problem) => write!(f, "HotShot cannot be read: {problem}"),
            Self::AnswerDisproven(problem) => write!(
                f,
                "no query service proves its answer for the next HotShot block (query_service_url): {problem}"
            ),
            Self::Unproven { number } => write!(
                f,
                "the light client on L1 shows that HotShot does not have what made block {number} the head: tags are refused until its batch is proven or Ethereum has finalized it (query_service_url, l1_rpc)"
            ),
            Self::CheckpointContradicts { number, height } => write!(
                f,
                "the light client on L1 contradicts what the query services say of HotShot below height {height}: nothing above block {number} is confirmed until a later L1 block decides (query_service_url, l1_rpc)"
            ),
            Self::AwaitingCheckpoint { number, height, covered } => {
                write!(
                    f,
                    "block {number} waits for the light client on L1 to cover HotShot block {height}; "
                )?;
                match covered {
                    Some(covered) => write!(f, "it covers those below {covered}"),
                    None => f.write_str("it was not read yet"),
                }
            }
            Self::CheckpointUnavailable(problem) => f.write_str(problem),
            Self::PositionUnavailable { cursor, height } => write!(
                f,
                "the query services do not have HotShot block {cursor}, the next one to read, but are at {height}: add one that has it (query_service_url); otherwise reading goes on when Ethereum has finalized blocks whose batches are later"
            ),
            Self::CatchingUp { cursor, height } => {
                write!(f, "catching up with HotShot: at {cursor} of {height}")
            }
            Self::AwaitingBatch { number } => {
                write!(f, "HotShot has no batch for block {number} yet")
            }
            Self::FallbackBatcherActive { number } => write!(
                f,
                "HotShot has no batch for block {number}: the fallback batcher is active, so HotShot carries none"
            ),
            Self::CompetingFork { number, other_fork, orphaned_origin, unauthorized } => write!(
                f,
                "no batch for block {number} on HotShot extends the head: {other_fork} of another fork, {orphaned_origin} on L1 blocks that Ethereum did not keep, {unauthorized} by a batcher not authorized there"
            ),
            Self::AwaitingBatcherHistory { number, origin } => write!(
                f,
                "block {number} waits for the batcher history to be read up to its L1 origin {origin}"
            ),
            Self::AwaitingL1Finality { number, origin, finalized } => {
                write!(f, "block {number} waits for its L1 origin {origin} to be final; ")?;
                match finalized {
                    Some(block) => write!(f, "L1 is final up to {}", block.number),
                    None => f.write_str("L1 has no final block yet"),
                }
            }
            Self::L1NoMajority { number, origin, problem } => write!(
                f,
                "block {number} waits for its L1 origin {origin} to be checked: {problem}"
            ),
            Self::L1Unavailable { number, origin, problem } => write!(
                f,
                "block {number} waits for its L1 origin {origin} to be checked: L1 cannot be read: {problem}"
            ),
            Self::AwaitingParentFinality { number, index, finalized } => write!(
                f,
                "block {number} waits for the parent chain to finalize delayed message {index}; it is final up to {}",
                finalized.map_or("a block not known yet".into(), |block| block.number.to_string())
            ),
            Self::ParentUnavailable { number, index, problem } => write!(
                f,
                "block {number} waits for delayed message {index} to be checked: the parent chain cannot be read (parent_rpc): {problem}"
            ),
            Self::HashUnsigned { number } => write!(
                f,
                "nothing on HotShot signs the hash of block {number}, as nitro_require = hash needs it: the chain posts without hashes, which nitro_require = inputs accepts"
            ),
            Self::HashHidden { number } => write!(
                f,
                "the signature for block {number} may be over the hash of another block: the head waits for Ethereum's finality"
            ),
            Self::Superseded { number } => write!(
                f,
                "the message for block {number} on HotShot is of before a reorg of the parent chain: the head waits for Ethereum's finality"
            ),
            Self::NodeMissingBlock { number } => {
                write!(f, "the node does not have block {number} yet")
            }
            Self::NodeUnavailable(problem) => write!(f, "the node cannot be read: {problem}"),
            Self::Mismatch { number, difference } => write!(
                f,
                "the node's block {number} is not the one that HotShot confirmed: {difference}"
            ),
            Self::Diverged { number, confirmed, node } => {
                write!(f, "the node's block {number} is {node}, not the confirmed {confirmed}")
            }
            Self::NodeBehind { number, latest } => {
                write!(f, "the node is at block {latest}, behind the head {number}")
            }
            Self::HeadHashUnknown { number } => write!(
                f,
                "the hash of the imported head {number} is not known yet: it comes with the batches from the newest finalized block up to it, or with finality at or above it"
            ),
            Self::StoreUnwritable(problem) => write!(f, "the head cannot be saved: {problem}"),
            Self::CutOff(problem) => write!(
                f,
                "the published head has not been seen for cluster_max_age, so tags are refused (store): {problem}"
            ),
            Self::QuorumShort => f.write_str(
                "fewer replicas than publish_quorum live and have verified this branch, so nothing new is published",
            ),
            Self::ClusterRegressed => f.write_str(
                "the store has lost a head that it had acknowledged: this replica serves its own highest, and writes it back once its node has it",
            ),
        }
    }
}

/// Whether a state ends without a person. The alert rules follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    /// It does, or the head need not advance.
    Unneeded,
    /// It usually does; not if it lasts.
    IfItLasts,
    /// It does not.
    Needed,
}

impl StallKind {
    /// All states.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The code, as [`Stall::code`].
    #[must_use]
    pub fn code(self) -> &'static str {
        self.into()
    }

    /// Whether this state ends without a person.
    #[must_use]
    pub const fn person(self) -> Person {
        match self {
            Self::Advancing
            | Self::UpToDate
            | Self::CatchingUp
            | Self::FallbackBatcherActive
            | Self::AwaitingL1Finality
            | Self::AwaitingParentFinality
            | Self::HeadHashUnknown => Person::Unneeded,
            Self::Starting
            | Self::ChainUnknown
            | Self::NoAnchor
            | Self::FinalityUnproven
            | Self::FeedUnavailable
            | Self::AnswerDisproven
            | Self::PositionUnavailable
            | Self::AwaitingBatch
            | Self::AwaitingBatcherHistory
            | Self::L1Unavailable
            | Self::L1NoMajority
            | Self::ParentUnavailable
            | Self::HashHidden
            | Self::Superseded
            | Self::NodeMissingBlock
            | Self::NodeUnavailable
            | Self::AwaitingCheckpoint
            | Self::CheckpointContradicts
            | Self::CheckpointUnavailable
            | Self::NodeBehind
            | Self::CutOff
            | Self::QuorumShort => Person::IfItLasts,
            Self::ConfigMismatch
            | Self::BatchersUnknown
            | Self::StartHeightUnknown
            | Self::CompetingFork
            | Self::HashUnsigned
            | Self::Mismatch
            | Self::Diverged
            | Self::Unproven
            | Self::StoreUnwritable
            | Self::ClusterRegressed => Person::Needed,
        }
    }
}

/// A change among the ordinary states is logged once it has lasted this long: an advancing head
/// changes its state several times with each block.
const LASTING: Duration = Duration::from_secs(10);

/// Decides which changes of the code deserve a line in the log.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    logged: Option<Stall>,
    /// A change that has not lasted long enough yet, and when it was first seen.
    pending: Option<(&'static str, Instant)>,
}

impl ChangeLog {
    /// Whether the state at the end of a round is to be logged.
    pub(super) fn is_news(&mut self, stall: &Stall, now: Instant) -> bool {
        let code = stall.code();
        if self.logged.as_ref().is_some_and(|logged| logged.code() == code) {
            self.pending = None;
            return false;
        }
        if stall.is_ordinary() && self.logged.as_ref().is_some_and(Stall::is_ordinary) {
            let since = match self.pending {
                Some((pending, since)) if pending == code => since,
                _ => now,
            };
            self.pending = Some((code, since));
            if now.duration_since(since) < LASTING {
                return false;
            }
        }
        self.pending = None;
        self.logged = Some(stall.clone());
        true
    }
}

/// Knows since when the state is what it is. What is shown in the middle of a round, as when
/// Ethereum moves the head during an outage, does not interrupt the state that the rounds end in.
#[derive(Debug, Default)]
pub(super) struct Since {
    shown: Option<(&'static str, Timestamp)>,
    ended: Option<(&'static str, Timestamp)>,
}

impl Since {
    /// A state that is shown in the middle of a round.
    pub(super) fn shown(&mut self, stall: &Stall, now: Timestamp) -> Timestamp {
        let code = stall.code();
        let known = [self.ended, self.shown].into_iter().flatten();
        let since = known.filter(|(known, _)| *known == code).map(|(_, since)| since).next();
        let since = since.unwrap_or(now);
        self.shown = Some((code, since));
        since
    }

    /// The state that a round ends in.
    pub(super) fn ended(&mut self, stall: &Stall, now: Timestamp) -> Timestamp {
        let since = self.shown(stall, now);
        self.ended = self.shown;
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_are_documented() {
        let mut codes = Stall::CODES.to_vec();
        codes.sort_unstable();
        let documented = [
            "advancing",
            "answer_disproven",
            "awaiting_batch",
            "awaiting_batcher_history",
            "awaiting_checkpoint",
            "awaiting_l1_finality",
            "awaiting_parent_finality",
            "batchers_unknown",
            "catching_up",
            "chain_unknown",
            "checkpoint_contradicts",
            "checkpoint_unavailable",
            "cluster_regressed",
            "competing_fork",
            "config_mismatch",
            "cut_off",
            "diverged",
            "fallback_batcher_active",
            "feed_unavailable",
            "finality_unproven",
            "hash_hidden",
            "hash_unsigned",
            "head_hash_unknown",
            "l1_no_majority",
            "l1_unavailable",
            "mismatch",
            "no_anchor",
            "node_behind",
            "node_missing_block",
            "node_unavailable",
            "parent_unavailable",
            "position_unavailable",
            "quorum_short",
            "start_height_unknown",
            "starting",
            "store_unwritable",
            "superseded",
            "unproven",
            "up_to_date",
        ];
        assert_eq!(codes, documented);
        let kinds: Vec<_> = StallKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(kinds, Stall::CODES);
        assert_eq!(Stall::UpToDate { number: 1 }.code(), "up_to_date");
        assert_eq!(Stall::default().code(), "starting");
    }

    #[test]
    fn each_change_is_logged_once_and_ordinary_ones_when_they_last() {
        let start = Instant::now();
        let mut log = ChangeLog::default();
        let mut at =
            |seconds, stall: &Stall| log.is_news(stall, start + Duration::from_secs(seconds));
        let (waits, done) = (Stall::AwaitingBatch { number: 2 }, Stall::UpToDate { number: 1 });
        let missing = Stall::NodeMissingBlock { number: 2 };
        assert!(at(0, &done), "the first state");
        assert!(!at(1, &done));
        // An active chain goes back and forth.
        assert!(!at(2, &waits));
        assert!(!at(4, &Stall::Advancing));
        assert!(!at(6, &done));
        assert!(!at(8, &waits));
        assert!(!at(17, &Stall::AwaitingBatch { number: 3 }));
        assert!(at(18, &waits), "it has lasted");
        assert!(!at(40, &waits));
        assert!(at(41, &missing), "not an ordinary state");
        assert!(!at(42, &Stall::NodeMissingBlock { number: 3 }), "the same code");
        assert!(at(43, &Stall::Advancing), "its end");
        assert!(!at(44, &done));
        assert!(!at(50, &waits));
        assert!(!at(55, &waits), "it has not lasted, whatever came before it");
    }

    #[test]
    fn a_state_lasts_through_what_is_shown_in_the_middle_of_a_round() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut since = Since::default();
        let fault = Stall::FeedUnavailable("HTTP status 503".into());
        assert_eq!(since.shown(&Stall::Starting, at(0)), at(0));
        assert_eq!(since.ended(&Stall::Starting, at(1)), at(0));
        assert_eq!(since.ended(&fault, at(2)), at(2));
        // Ethereum moves the head meanwhile.
        assert_eq!(since.shown(&Stall::Advancing, at(3)), at(3));
        assert_eq!(since.shown(&Stall::Advancing, at(4)), at(3));
        let other = Stall::FeedUnavailable("no answer".into());
        assert_eq!(since.ended(&other, at(5)), at(2), "the same code");
        // A round that ends in another state ends it.
        assert_eq!(since.ended(&Stall::Advancing, at(6)), at(6));
        assert_eq!(since.ended(&fault, at(7)), at(7));
        // The end of a round is no change.
        assert_eq!(since.shown(&Stall::Starting, at(8)), at(8));
        assert_eq!(since.ended(&Stall::Starting, at(9)), at(8));
    }
}
