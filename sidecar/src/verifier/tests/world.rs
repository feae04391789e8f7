//! The world in memory.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use espresso_proofs::{BlockTreeRoot, Chain, Checkpoint, Header, NamespaceBlock, commitment};
use finality_core::head::{HeadReport, Status};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::headers::{HeadersMade, HotshotBlock};
use crate::{
    batchers::{BatcherSource, BatcherTenure, KnownBatchers},
    config::HotshotProofs,
    espresso::{Blocks, Headers},
    eth::BlockId,
    head::{HeadBlock, HeadKeeper, PublishedHead},
    l1::{
        BatchAuthenticatorError, BatcherHistory, FinalizedState, LightClientError, Reading,
        State as L1State,
    },
    node::{Block, Survey, Transaction},
    rollup::{
        Batch, Difference, FeedSource, L1Source, NodeSource, Rejected, Rollup as _,
        op::{
            ConsensusSource, Facts, Form, Genesis, L2Ref, OpStack, RollupConfig, SafeHead,
            SyncStatus,
        },
    },
    store::memory::MemoryStore,
    telemetry::Metrics,
    upstream::{News, UpstreamError},
    verifier::{BUDGET, Board, Options, Parts, Round, Stall, Verifier},
};

pub(super) const CHAIN_ID: u64 = 77;
pub(super) const L1_CHAIN_ID: u64 = 5;
const BLOCK_TIME: u64 = 2;
const GENESIS_TIME: u64 = 1000;
pub(super) const SEQ_WINDOW_SIZE: u64 = 100;
/// L2 blocks on one L1 block.
pub(super) const BLOCKS_PER_ORIGIN: u64 = 2;

/// A fork of a chain: beyond `at` the blocks are others, by `name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fork {
    pub(super) name: u8,
    pub(super) at: u64,
}

pub(super) const MAIN: Fork = Fork { name: 0, at: 0 };

fn hash_of(layer: &str, fork: Fork, number: u64) -> B256 {
    let name = if number <= fork.at { 0 } else { fork.name };
    keccak256(format!("{layer} {name} {number}"))
}

pub(super) fn l1_hash(fork: Fork, number: u64) -> B256 {
    hash_of("l1", fork, number)
}

pub(super) fn l2_hash(fork: Fork, number: u64) -> B256 {
    hash_of("l2", fork, number)
}

/// Who signs, unless a test says otherwise.
pub(super) const BATCHER: Address = Address::repeat_byte(0xb1);

/// A batch as it is posted; `signed` says whether its signature is a good one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Posted {
    pub(super) signed: bool,
    pub(super) signer: Address,
    pub(super) number: u64,
    pub(super) hash: B256,
    pub(super) parent_hash: B256,
    pub(super) timestamp: u64,
    pub(super) l1_origin: BlockId,
}

impl Posted {
    /// The honest batch for a block of a fork.
    pub(super) fn of(fork: Fork, number: u64) -> Self {
        Self {
            signed: true,
            signer: BATCHER,
            number,
            hash: l2_hash(fork, number),
            parent_hash: l2_hash(fork, number - 1),
            timestamp: GENESIS_TIME + number * BLOCK_TIME,
            l1_origin: origin(number),
        }
    }
}

/// The L1 origin of an L2 block.
pub(super) fn origin(number: u64) -> BlockId {
    let number = number / BLOCKS_PER_ORIGIN;
    BlockId { number, hash: l1_hash(MAIN, number) }
}

/// What a payload shows of a difference.
pub(super) fn by_payload() -> Difference {
    Difference::Transactions("transaction 0".into())
}

/// The rules of the OP Stack, for a form of our own.
pub(super) type TestRollup = OpStack<TestForm, World>;

/// Payloads are JSON, and blocks have their origin in the first transaction.
#[derive(Debug, Default)]
pub(super) struct TestForm(KnownBatchers);

impl Form for TestForm {
    type Content = ();

    fn batchers(&self) -> &KnownBatchers {
        &self.0
    }

    fn admit(&self, payload: &[u8]) -> Result<Batch<Facts, ()>, Rejected> {
        let posted: Posted = serde_json::from_slice(payload)
            .map_err(|error| Rejected::Structure(error.to_string()))?;
        if !posted.signed || !self.0.contains(&posted.signer) {
            return Err(Rejected::UnauthorizedSigner(posted.signer));
        }
        let Posted { signer, number, hash, parent_hash, timestamp, l1_origin, .. } = posted;
        if self.0.rules_out(signer, l1_origin.number) {
            return Err(Rejected::UnauthorizedThere { signer, l1_origin: l1_origin.number });
        }
        let facts = Facts { number, hash, parent_hash, timestamp, l1_origin };
        Ok(Batch { signer, facts, content: () })
    }

    fn compare(&self, batch: &Batch<Facts, ()>, block: &Block) -> Result<(), Difference> {
        if batch.facts.hash == block.hash {
            Ok(())
        } else {
            Err(Difference::Hash { batch: batch.facts.hash, node: block.hash })
        }
    }

    fn compare_payload(&self, payload: &[u8], block: &Block) -> Result<(), Difference> {
        let batch = self.admit(payload).map_err(|rejected| Difference::Malformed {
            number: block.number,
            problem: rejected.to_string(),
        })?;
        self.compare(&batch, block).map_err(|_| by_payload())
    }

    fn l1_origin(&self, block: &Block) -> Result<BlockId, Difference> {
        let input = block.transactions.first().map(|transaction| transaction.input.clone());
        serde_json::from_slice(&input.unwrap_or_default()).map_err(|error| Difference::Malformed {
            number: block.number,
            problem: error.to_string(),
        })
    }
}

/// Everything that the verifier asks, to be changed by a test between rounds.
pub(super) struct State {
    pub(super) node_fork: Fork,
    /// The genesis block of op-node's rollup.
    pub(super) rollup_genesis: B256,
    pub(super) node_latest: u64,
    /// Blocks up to this one are served although they may be above the latest one, as after an
    /// unclean stop.
    pub(super) node_serves_to: u64,
    pub(super) node_pruned_below: u64,
    /// Another endpoint that Envoy may use: the chain it follows, if it answers.
    pub(super) other_endpoint: Option<Fork>,
    pub(super) node_finalized: Option<u64>,
    /// The node answers the question about it with this error object.
    pub(super) finalized_error: Option<UpstreamError>,
    pub(super) node_chain_id: u64,
    pub(super) consensus_finalized: Option<u64>,
    /// What op-node calls safe, if it is more than what it calls finalized.
    pub(super) consensus_safe: Option<u64>,
    /// The L1 blocks in a sync status: the one that blocks are derived from, and the newest one.
    pub(super) consensus_l1: (u64, u64),
    /// By the L1 block that had the batch: what op-node has really derived, which is also its
    /// safe-head database.
    pub(super) derived: BTreeMap<u64, u64>,
    pub(super) safe_head_database: bool,
    /// The tip at the end of execution-layer sync, which node and op-node call finalized, and
    /// op-node safe.
    pub(super) el_synced: Option<u64>,
    /// The final block that was read last, and how often L1 has contradicted it.
    pub(super) l1_pin: Option<BlockId>,
    pub(super) l1_epoch: u64,
    pub(super) l1_fork: Fork,
    pub(super) l1_finalized: Option<u64>,
    pub(super) light_client: BTreeMap<u64, u64>,
    /// Batchers by the L1 block in which they were set; none before the contract.
    pub(super) batchers: BTreeMap<u64, Address>,
    /// The L1 block from which on the contract is there; none if it never is.
    pub(super) authenticator: Option<u64>,
    /// The contract that the rollup's configuration names.
    pub(super) named_authenticator: Option<Address>,
    pub(super) active_is_espresso: bool,
    pub(super) l1_latest: u64,
    pub(super) hotshot: Vec<HotshotBlock>,
    headers: RefCell<HeadersMade>,
    /// The most blocks that services return at once.
    pub(super) range_limit: u64,
    /// Blocks that are decided but whose payload the service does not have.
    pub(super) hotshot_missing: BTreeSet<u64>,
    /// Blocks that are too long to be read beside others.
    pub(super) long_hotshot_blocks: BTreeSet<u64>,
    pub(super) long_node_blocks: BTreeSet<u64>,
    pub(super) hotshot_height: Option<u64>,
    /// The height of the header that a stream has told of last.
    pub(super) told_header: Option<u64>,
    /// How long the answer for a range takes.
    pub(super) range_time: Duration,
    pub(super) ranges_in_flight: usize,
    /// The service has forgotten the blocks below.
    pub(super) hotshot_pruned_below: u64,
    /// The time of HotShot's blocks by height, until the next one; L1 block `n` is made at `n`.
    pub(super) hotshot_times: BTreeMap<u64, u64>,
    pub(super) down: BTreeSet<&'static str>,
    /// What is down is not asked again yet.
    pub(super) backs_off: bool,
    /// The HotShot block of which no service proves its answer.
    pub(super) disproven: Option<u64>,
    /// What a majority of the services shows from some height on in place of HotShot's blocks.
    pub(super) forged: Option<Forgery>,
    /// Whether one of the services shows HotShot's own blocks all the same.
    pub(super) one_is_honest: bool,
    /// Whether services show paths in the tree of all headers.
    pub(super) serves_paths: bool,
    /// The light client has another root than HotShot's at that height.
    pub(super) false_root: Option<u64>,
    /// Whether headers are read.
    pub(super) proven: bool,
    /// What the services prove headers under.
    pub(super) rooted: Option<Checkpoint>,
    pub(super) calls: BTreeMap<&'static str, u64>,
    pub(super) ranges: Vec<(u64, u64)>,
    /// Run at the beginning of each call, with its name.
    pub(super) probes: Vec<Probe>,
}

/// Blocks that HotShot does not have, from a height on.
#[derive(Debug, Clone, Default)]
pub(super) struct Forgery {
    pub(super) from: usize,
    pub(super) blocks: Vec<HotshotBlock>,
}

pub(super) type Probe = Arc<dyn Fn(&'static str) + Send + Sync>;

/// A handle to the state.
#[derive(Clone)]
pub(super) struct World(Arc<Mutex<State>>, pub(super) News);

impl World {
    /// A node at block `latest`, nothing finalized on L2, all of L1 up to there final.
    pub(super) fn new(latest: u64) -> Self {
        Self(
            Arc::new(Mutex::new(State {
                node_fork: MAIN,
                rollup_genesis: l2_hash(MAIN, 0),
                node_latest: latest,
                node_serves_to: 0,
                node_pruned_below: 0,
                other_endpoint: None,
                node_finalized: None,
                finalized_error: None,
                node_chain_id: CHAIN_ID,
                consensus_finalized: Some(0),
                consensus_safe: None,
                consensus_l1: (0, 0),
                derived: BTreeMap::new(),
                safe_head_database: true,
                el_synced: None,
                l1_epoch: 0,
                l1_fork: MAIN,
                l1_finalized: Some(1_000_000),
                light_client: BTreeMap::new(),
                batchers: BTreeMap::from([(0, BATCHER)]),
                authenticator: Some(0),
                named_authenticator: None,
                active_is_espresso: true,
                l1_latest: 1_000_000,
                hotshot: Vec::new(),
                headers: RefCell::default(),
                range_limit: 10,
                hotshot_missing: BTreeSet::new(),
                long_hotshot_blocks: BTreeSet::new(),
                long_node_blocks: BTreeSet::new(),
                hotshot_height: None,
                told_header: None,
                range_time: Duration::ZERO,
                ranges_in_flight: 0,
                hotshot_pruned_below: 0,
                hotshot_times: BTreeMap::new(),
                down: BTreeSet::new(),
                backs_off: false,
                disproven: None,
                forged: None,
                one_is_honest: false,
                serves_paths: true,
                false_root: None,
                proven: false,
                rooted: None,
                l1_pin: None,
                calls: BTreeMap::new(),
                ranges: Vec::new(),
                probes: Vec::new(),
            })),
            News::default(),
        )
    }

    pub(super) fn change(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// A HotShot block with these batches.
    pub(super) fn post(&self, batches: impl IntoIterator<Item = Posted>) {
        let payloads = batches.into_iter().map(|batch| serde_json::to_vec(&batch).unwrap());
        self.change().hotshot.push(payloads.collect());
    }

    /// A HotShot block for each block of a fork.
    pub(super) fn post_all(&self, fork: Fork, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.post([Posted::of(fork, number)]);
        }
    }

    /// L1 has the batches up to a block, and has finalized them; node and op-node say so.
    pub(super) fn finalize(&self, number: u64) {
        let mut state = self.change();
        state.derived.insert(origin(number).number + 1, number);
        state.node_finalized = Some(number);
        state.consensus_finalized = Some(number);
    }

    pub(super) fn calls(&self, name: &str) -> u64 {
        self.change().calls.get(name).copied().unwrap_or(0)
    }

    /// What is long is on its way: nothing else of HotShot is held meanwhile.
    async fn assert_alone(&self) {
        tokio::task::yield_now().await;
        assert_eq!(self.change().ranges_in_flight, 0);
    }

    fn called(
        &self,
        service: &'static str,
        name: &'static str,
    ) -> Result<MutexGuard<'_, State>, UpstreamError> {
        let probes = self.change().probes.clone();
        probes.iter().for_each(|probe| probe(name));
        let mut state = self.0.lock();
        *state.calls.entry(name).or_default() += 1;
        if state.down.contains(service) || state.down.contains(name) {
            let fault = UpstreamError::Connection(format!("{name} is down"));
            let backs_off = state.backs_off;
            return Err(if backs_off { UpstreamError::BackingOff(fault.into()) } else { fault });
        }
        Ok(state)
    }

    /// The rollup, once op-node has described it.
    pub(super) fn rollup(&self) -> TestRollup {
        let rollup = OpStack::new(TestForm::default(), self.clone());
        futures::executor::block_on(rollup.chain(CHAIN_ID, self)).unwrap();
        rollup
    }

    pub(super) fn verifier(&self, store: &MemoryStore) -> Runner {
        self.verifier_with(store, |_| {})
    }

    pub(super) fn verifier_with(
        &self,
        store: &MemoryStore,
        change: impl FnOnce(&mut Options),
    ) -> Runner {
        // What a process knew of the light client is gone with it.
        self.change().rooted = None;
        let mut options = Options {
            interval: Duration::ZERO,
            namespace: None,
            batchers: BatcherSource::Fixed(vec![BatcherTenure::always(BATCHER)]),
            light_client: None,
            initial_hotshot_height: Some(0),
            budget: BUDGET,
            trust_node_finalized: false,
            proofs: HotshotProofs::Off,
        };
        change(&mut options);
        self.change().proven = options.proofs != HotshotProofs::Off;
        let metrics = Metrics::new();
        let (keeper, head) = HeadKeeper::new(store.reopen(), metrics.clone());
        let board = Arc::<Board>::default();
        let world = self.clone();
        let parts = Parts {
            rollup: OpStack::new(TestForm::default(), self.clone()),
            node: self.clone(),
            l1: self.clone(),
            open_feed: Box::new(move |_| world.clone()),
            keeper,
            news: self.1.clone(),
            board: Arc::clone(&board),
            metrics: metrics.clone(),
        };
        let verifier = Verifier::new(parts, options);
        // What the API would show in the middle of a round.
        let (shown, published) = (Arc::clone(&board), head.clone());
        let probe = move |_| assert_one_snapshot(&shown, &published);
        self.change().probes = vec![Arc::new(probe)];
        Runner { verifier, head, board, metrics, highest: 0 }
    }
}

/// A range that is asked for, until it is answered or dropped.
struct InFlight(World);

impl InFlight {
    fn new(world: &World) -> Self {
        world.change().ranges_in_flight += 1;
        Self(world.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.change().ranges_in_flight -= 1;
    }
}

/// Head, reason, node and lag of a status belong together at any moment.
fn assert_one_snapshot(board: &Board, published: &PublishedHead) {
    let findings = board.findings();
    let facts = |head: &HeadReport| (head.number, head.status);
    let head = findings.head.as_deref().map(facts);
    assert_eq!(head, published.borrow().as_deref().map(facts), "{findings:?}");
    let number = head.map(|(number, _)| number);
    let lag = number.zip(findings.node.latest).map(|(head, latest)| latest.saturating_sub(head));
    assert_eq!(findings.lag.map(|lag| lag.blocks), lag, "{findings:?}");
    match findings.stall {
        Stall::AwaitingBatch { number: next }
        | Stall::FallbackBatcherActive { number: next }
        | Stall::CompetingFork { number: next, .. }
        | Stall::AwaitingBatcherHistory { number: next, .. }
        | Stall::AwaitingL1Finality { number: next, .. }
        | Stall::L1NoMajority { number: next, .. }
        | Stall::L1Unavailable { number: next, .. }
        | Stall::Mismatch { number: next, .. } => {
            assert_eq!(findings.next, Some(next), "{findings:?}");
        }
        // Also for the hash of an imported head.
        Stall::NodeMissingBlock { number: next } => {
            assert!(findings.next == Some(next) || number == Some(next), "{findings:?}");
        }
        Stall::UpToDate { number: head } => {
            assert_eq!((number, lag), (Some(head), Some(0)), "{findings:?}");
        }
        Stall::HeadHashUnknown { number: head } => assert_eq!(number, Some(head), "{findings:?}"),
        // Whatever the node has, an unproven head is shown as that.
        Stall::Diverged { number, .. } => {
            let shown = [Status::Diverged, Status::Unproven].map(|status| Some((number, status)));
            assert!(shown.contains(&head), "{findings:?}");
        }
        Stall::NodeBehind { number, .. } => {
            let shown = [Status::NodeBehind, Status::Unproven].map(|status| Some((number, status)));
            assert!(shown.contains(&head), "{findings:?}");
        }
        _ => {}
    }
}

/// Exactly one series of the metric is 1, and every code has one.
fn assert_one_is_1(metrics: &Metrics, code: &str) {
    let text = metrics.render();
    let series: Vec<_> =
        text.lines().filter(|line| line.starts_with("espresso_verifier_stalled{")).collect();
    assert_eq!(series.len(), Stall::CODES.len());
    let ones: Vec<_> = series.iter().filter(|line| line.ends_with(" 1")).collect();
    assert_eq!(ones, [&&*format!("espresso_verifier_stalled{{reason=\"{code}\"}} 1")]);
}

/// A verifier, driven round by round. The head that watchers see is checked after each.
pub(super) struct Runner {
    pub(super) verifier: Verifier<TestRollup, World, World, World>,
    pub(super) head: PublishedHead,
    pub(super) board: Arc<Board>,
    pub(super) metrics: Metrics,
    highest: u64,
}

impl Runner {
    /// One round; the published number never falls.
    pub(super) async fn round(&mut self) -> Round {
        let round = self.verifier.round().await.unwrap();
        assert_one_snapshot(&self.board, &self.head);
        if let Some(head) = self.head() {
            assert!(head.number >= self.highest, "the head fell");
            self.highest = head.number;
        }
        round
    }

    /// Rounds until there is nothing to do.
    pub(super) async fn run_until_idle(&mut self) {
        for _ in 0..10_000 {
            if self.round().await == Round::Idle {
                return assert_one_is_1(&self.metrics, self.code());
            }
        }
        panic!("the verifier never comes to rest");
    }

    pub(super) fn head(&self) -> Option<Arc<HeadReport>> {
        self.head.borrow().clone()
    }

    pub(super) fn number(&self) -> u64 {
        self.head().expect("there is a head").number
    }

    /// Why the head does not advance.
    pub(super) fn stall(&self) -> Stall {
        self.board.findings().stall.clone()
    }

    pub(super) fn code(&self) -> &'static str {
        self.stall().code()
    }
}

fn not_under_the_root() -> UpstreamError {
    UpstreamError::Disproven { reason: "root", problem: String::new() }
}

impl State {
    /// The blocks that a majority of the services shows.
    pub(super) fn majority(&self) -> Cow<'_, [HotshotBlock]> {
        match &self.forged {
            Some(Forgery { from, blocks }) => [&self.hotshot[..*from], blocks].concat().into(),
            None => Cow::Borrowed(&self.hotshot),
        }
    }

    /// The chain of blocks below a height.
    fn chain_of(&self, blocks: &[HotshotBlock], height: u64) -> Chain {
        self.headers.borrow_mut().chain(blocks, height)
    }

    /// The light client's state at a HotShot height.
    fn checkpoint(&self, height: u64) -> Checkpoint {
        let root = self.headers.borrow_mut().light_client_root(&self.hotshot, height);
        let root = if self.false_root == Some(height) { !root } else { root };
        Checkpoint { height, root }
    }

    /// The blocks under the light client's root that any service shows.
    fn shown(&self, checkpoint: Checkpoint) -> Option<&[HotshotBlock]> {
        let is_shown = self.forged.is_none() || self.one_is_honest;
        let is_true = self.checkpoint(checkpoint.height) == checkpoint
            && self.false_root != Some(checkpoint.height);
        (is_shown && is_true).then_some(&*self.hotshot)
    }

    fn blocks(&self, from: u64, until: u64) -> Result<Blocks, UpstreamError> {
        let range = from as usize..until as usize;
        let payloads = |blocks: &[HotshotBlock]| -> Vec<NamespaceBlock> {
            blocks[range.clone()].iter().map(|payloads| payloads.iter().collect()).collect()
        };
        let rooted = self.rooted.filter(|rooted| until <= rooted.height && self.serves_paths);
        if let Some(rooted) = rooted {
            let shown = self.shown(rooted).ok_or_else(not_under_the_root)?;
            let headers = Headers::Proven {
                before: Box::new(self.chain_of(shown, from)),
                after: Box::new(self.chain_of(shown, until)),
            };
            return Ok(Blocks { payloads: payloads(shown), headers });
        }
        let majority = self.majority();
        if majority.len() < until as usize {
            return Err(UpstreamError::Absent(String::new()));
        }
        let links = match self.proven {
            true => {
                let mut made = self.headers.borrow_mut();
                Headers::Agreed(made.links(&majority, range.clone()))
            }
            false => Headers::Unread,
        };
        Ok(Blocks { payloads: payloads(&majority), headers: links })
    }

    fn header(&self, height: u64) -> Header {
        let time = self.hotshot_times.range(..=height).next_back();
        let header = json!({
            "height": height,
            "timestamp": time.map_or(0, |(_, time)| *time),
            "ns_table": {"bytes": "AAAAAA=="},
            "payload_commitment": commitment::transaction(0, &[]).to_string(),
        });
        Header::read(header.to_string().as_bytes()).unwrap()
    }

    /// Whether the service has the HotShot blocks of a range, none of them late or forgotten.
    fn has_range(&self, from: u64, until: u64) -> bool {
        from >= self.hotshot_pruned_below
            && until <= self.hotshot.len() as u64
            && self.hotshot_missing.range(from..until).next().is_none()
    }

    pub(super) fn block(&self, number: u64) -> Option<Block> {
        let has = number <= self.node_latest.max(self.node_serves_to)
            && (number >= self.node_pruned_below || number == 0);
        has.then(|| Block {
            number,
            hash: l2_hash(self.node_fork, number),
            parent_hash: l2_hash(self.node_fork, number.saturating_sub(1)),
            timestamp: GENESIS_TIME + number * BLOCK_TIME,
            transactions: vec![Transaction {
                hash: B256::ZERO,
                kind: Some("0x7e".into()),
                input: Bytes::from(serde_json::to_vec(&origin(number)).unwrap()),
            }],
        })
    }
}

impl NodeSource<Block> for World {
    async fn survey(
        &self,
        _: Option<u64>,
        head: Option<HeadBlock>,
    ) -> Result<Survey, UpstreamError> {
        drop(self.called("node", "survey")?);
        let chain_id = NodeSource::chain_id(self).await?;
        let latest = self.latest().await?;
        let Some(HeadBlock { number, hash, .. }) = head else {
            return Ok(Survey { chain_id, latest, at_head: None, contradiction: None });
        };
        let at_head = NodeSource::hash_at(self, number).await?;
        let other = self.change().other_endpoint.map(|fork| l2_hash(fork, number));
        let hashes = [at_head, other].into_iter().flatten();
        let contradiction =
            hashes.into_iter().find(|other| hash.is_some_and(|hash| hash != *other));
        Ok(Survey { chain_id, latest, at_head, contradiction })
    }

    async fn chain_id(&self) -> Result<u64, UpstreamError> {
        Ok(self.called("node", "node chain id")?.node_chain_id)
    }

    async fn latest(&self) -> Result<u64, UpstreamError> {
        Ok(self.called("node", "node latest")?.node_latest)
    }

    async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        let state = self.called("node", "node hash")?;
        Ok(state.block(number).map(|block| block.hash))
    }

    async fn block(&self, number: u64) -> Result<Option<Block>, UpstreamError> {
        if self.change().long_node_blocks.contains(&number) {
            self.assert_alone().await;
        }
        Ok(self.called("node", "node block")?.block(number))
    }

    async fn short_block(&self, number: u64) -> Result<Option<Block>, UpstreamError> {
        let state = self.called("node", "node block")?;
        if state.long_node_blocks.contains(&number) {
            return Err(UpstreamError::TooLarge { limit: 1 });
        }
        Ok(state.block(number))
    }

    async fn block_and_latest(&self, number: u64) -> Result<(Option<Block>, u64), UpstreamError> {
        drop(self.called("node", "block and latest")?);
        let block = self.short_block(number).await?;
        Ok((block, self.latest().await?))
    }

    async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        let state = self.called("node", "node finalized")?;
        if let Some(error) = &state.finalized_error {
            return Err(error.clone());
        }
        let finalized = state.node_finalized.max(state.el_synced);
        Ok(finalized.map(|number| BlockId { number, hash: l2_hash(state.node_fork, number) }))
    }

    async fn view(&self, _: Address, _: Bytes) -> Result<Bytes, UpstreamError> {
        Ok(Bytes::new())
    }
}

impl ConsensusSource for World {
    async fn rollup_config(&self) -> Result<RollupConfig, UpstreamError> {
        let state = self.called("consensus", "rollup config")?;
        Ok(RollupConfig {
            genesis: Genesis {
                l1: BlockId { number: 0, hash: l1_hash(MAIN, 0) },
                l2: BlockId { number: 0, hash: state.rollup_genesis },
                l2_time: GENESIS_TIME,
            },
            block_time: BLOCK_TIME,
            seq_window_size: SEQ_WINDOW_SIZE,
            l1_chain_id: L1_CHAIN_ID,
            l2_chain_id: CHAIN_ID,
            batch_authenticator_address: state.named_authenticator,
        })
    }

    async fn sync_status(&self) -> Result<SyncStatus, UpstreamError> {
        let state = self.called("consensus", "sync status")?;
        let block = |number| L2Ref {
            hash: l2_hash(state.node_fork, number),
            number,
            l1_origin: origin(number),
        };
        // Zeros while it is not ready.
        let zero = BlockId { number: 0, hash: B256::ZERO };
        let zeros = L2Ref { hash: B256::ZERO, number: 0, l1_origin: zero };
        let finalized = state.consensus_finalized.max(state.el_synced);
        let safe = state.consensus_safe.max(finalized);
        let l1 = |number: u64| match number {
            0 => zero,
            _ => BlockId { number, hash: l1_hash(state.l1_fork, number) },
        };
        let (current, head) = state.consensus_l1;
        Ok(SyncStatus {
            current_l1: Some(l1(current)),
            head_l1: Some(l1(head)),
            finalized_l2: Some(finalized.map_or(zeros, block)),
            safe_l2: Some(safe.map_or(zeros, block)),
        })
    }

    async fn safe_head_at(&self, l1_number: u64) -> Result<Option<SafeHead>, UpstreamError> {
        let state = self.called("consensus", "safe head")?;
        let entry = state.derived.range(..=l1_number).next_back();
        Ok(entry.filter(|_| state.safe_head_database).map(|(l1, number)| SafeHead {
            l1_block: BlockId { number: *l1, hash: l1_hash(state.l1_fork, *l1) },
            safe_head: BlockId { number: *number, hash: l2_hash(state.node_fork, *number) },
        }))
    }
}

impl L1Source for World {
    async fn chain_id(&self) -> Result<u64, UpstreamError> {
        drop(self.called("l1", "l1 chain id")?);
        Ok(L1_CHAIN_ID)
    }

    fn pin(&self, _: BlockId) {}

    async fn read(&self, _: u64) -> Result<Reading, UpstreamError> {
        let mut state = self.called("l1", "l1 finalized")?;
        let fork = state.l1_fork;
        if state.l1_pin.is_some_and(|pin| l1_hash(fork, pin.number) != pin.hash) {
            state.l1_epoch += 1;
        }
        let finalized =
            state.l1_finalized.map(|number| BlockId { number, hash: l1_hash(fork, number) });
        state.l1_pin = finalized;
        Ok(Reading { finalized, epoch: state.l1_epoch, unconfirmed: false })
    }

    async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        let state = self.called("l1", "l1 hash")?;
        Ok(Some(l1_hash(state.l1_fork, number)))
    }

    async fn timestamp(&self, block: BlockId) -> Result<u64, UpstreamError> {
        drop(self.called("l1", "l1 time")?);
        Ok(block.number)
    }

    async fn light_client(
        &self,
        _: Address,
        block: BlockId,
    ) -> Result<FinalizedState, LightClientError> {
        let state = self.called("l1", "light client")?;
        match state.light_client.range(..=block.number).next_back() {
            Some((_, height)) => Ok(FinalizedState { block_height: *height, root: U256::ZERO }),
            None => Err(LightClientError::NoContract),
        }
    }

    async fn checkpoint(&self, _: Address, block: BlockId) -> Result<Checkpoint, LightClientError> {
        let state = self.called("l1", "checkpoint")?;
        let known = state.light_client.range(..=block.number).next_back();
        let (_, height) = known.ok_or(LightClientError::NoContract)?;
        Ok(state.checkpoint(*height))
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn batchers(
        &self,
        _: Address,
        at: L1State,
    ) -> Result<BatcherHistory, BatchAuthenticatorError> {
        let state = self.called("l1", "batchers")?;
        let block = match at {
            L1State::Of(block) => block.number,
            L1State::Latest => state.l1_latest,
        };
        if state.authenticator.is_none_or(|deployed| deployed > block) {
            return Err(BatchAuthenticatorError::NoContract);
        }
        let entries: Vec<_> = state.batchers.range(..=block).collect();
        let tenures = entries.iter().enumerate().map(|(index, (from, batcher))| BatcherTenure {
            batcher: **batcher,
            from: **from,
            until: entries.get(index + 1).map(|(from, _)| **from),
        });
        let active_is_espresso = Some(state.active_is_espresso);
        Ok(BatcherHistory { tenures: tenures.collect(), active_is_espresso })
    }
}

impl FeedSource for World {
    async fn height(&self) -> Result<u64, UpstreamError> {
        let state = self.called("feed", "feed height")?;
        Ok(state.hotshot_height.unwrap_or(state.hotshot.len() as u64))
    }

    async fn range_limit(&self) -> Result<u64, UpstreamError> {
        Ok(self.called("feed", "feed limits")?.range_limit)
    }

    async fn range(&self, from: u64, until: u64) -> Result<Blocks, UpstreamError> {
        let range_time = self.called("feed", "feed range")?.range_time;
        if !range_time.is_zero() {
            let _in_flight = InFlight::new(self);
            tokio::time::sleep(range_time).await;
        }
        let mut state = self.change();
        if until - from > state.range_limit {
            return Err(UpstreamError::Status { status: 400, answer: String::new() });
        }
        if state.long_hotshot_blocks.range(from..until).next().is_some() {
            return Err(UpstreamError::TooLarge { limit: 1 });
        }
        if !state.has_range(from, until) {
            return Err(UpstreamError::Absent(String::new()));
        }
        if state.disproven.is_some_and(|height| (from..until).contains(&height)) {
            let problem = String::new();
            return Err(UpstreamError::Disproven { reason: "commitment", problem });
        }
        state.ranges.push((from, until));
        state.blocks(from, until)
    }

    async fn block_alone(&self, height: u64) -> Result<Blocks, UpstreamError> {
        self.assert_alone().await;
        let state = self.called("feed", "feed block alone")?;
        if !state.has_range(height, height + 1) {
            return Err(UpstreamError::Absent(String::new()));
        }
        state.blocks(height, height + 1)
    }

    fn prove_under(&self, checkpoint: Checkpoint) {
        self.change().rooted = Some(checkpoint);
    }

    async fn chain_under(
        &self,
        checkpoint: Checkpoint,
        height: u64,
    ) -> Result<Chain, UpstreamError> {
        let state = self.called("feed", "feed path")?;
        if !state.serves_paths {
            return Err(UpstreamError::Absent(String::new()));
        }
        let shown = state.shown(checkpoint).ok_or_else(not_under_the_root)?;
        Ok(state.chain_of(shown, height))
    }

    async fn chain_before(&self, height: u64, root: BlockTreeRoot) -> Result<Chain, UpstreamError> {
        let state = self.called("feed", "feed path")?;
        if !state.serves_paths {
            return Err(UpstreamError::Absent(String::new()));
        }
        let chains = [state.majority(), Cow::Borrowed(&*state.hotshot)];
        let chains = chains.iter().map(|blocks| state.chain_of(blocks, height));
        let mut chains = chains.filter(|chain| chain.tree().root() == root);
        chains.next().ok_or_else(not_under_the_root)
    }

    async fn is_gone(&self, height: u64, newer: u64) -> bool {
        let Ok(state) = self.called("feed", "feed range") else { return false };
        !state.has_range(height, height + 1) && state.has_range(newer, newer + 1)
    }

    async fn header(&self, height: u64) -> Result<Header, UpstreamError> {
        let state = self.called("feed", "feed header")?;
        if !state.has_range(height, height + 1) {
            return Err(UpstreamError::Absent(String::new()));
        }
        Ok(state.header(height))
    }

    fn newest_header(&self) -> Option<Arc<Header>> {
        let state = self.change();
        state.told_header.map(|height| Arc::new(state.header(height)))
    }

    async fn l1_finalized(&self, _: u64) -> Result<Option<u64>, UpstreamError> {
        Ok(None)
    }
}
