//! A chain of Nitro through the loop: blocks that Nitro's own ArbOS produced, with twisted copies
//! posted before each message.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, Bytes, U256};
use finality_core::head::HeadReport;
use parking_lot::Mutex;

use super::counter::{FINAL_L1, Outside};
use crate::{
    batchers::{BatcherSource, BatcherTenure},
    config::{HotshotProofs, NitroRequire},
    eth::BlockId,
    head::{HeadBlock, HeadKeeper, PublishedHead},
    node::{NodeBlock as _, Survey},
    rollup::{
        NodeSource, Position, Rollup as _,
        nitro::{
            Below, MessageHeader, NitroBlock, NitroChain, Scheme,
            tests::fixture::{
                Parent, chain_after_a_loss, chain_after_a_reorg, claimed, embedded_chain,
                golden_chain, signer,
            },
        },
    },
    store::{StoreError, memory::MemoryStore},
    telemetry::Metrics,
    upstream::{News, UpstreamError},
    verifier::{BUDGET, Board, Candidates, Options, Parts, Stall, Verifier},
};

/// The node, up to a block.
#[derive(Clone)]
struct Node {
    chain_id: u64,
    blocks: Arc<Vec<NitroBlock>>,
    finalized: Arc<Mutex<Option<u64>>>,
    /// The last block of each batch, as it says, and how often it was asked.
    batches: Arc<Mutex<(Vec<u64>, usize)>>,
    /// The first block, as it says; nothing if it has no such method.
    first: Arc<Mutex<Result<Option<u64>, UpstreamError>>>,
}

impl NodeSource<NitroBlock> for Node {
    async fn survey(
        &self,
        _: Option<u64>,
        head: Option<HeadBlock>,
    ) -> Result<Survey, UpstreamError> {
        let at_head = match head {
            Some(head) => self.hash_at(head.number).await?,
            None => None,
        };
        let latest = self.latest().await?;
        Ok(Survey { chain_id: self.chain_id, latest, at_head, contradiction: None })
    }

    async fn chain_id(&self) -> Result<u64, UpstreamError> {
        Ok(self.chain_id)
    }

    async fn latest(&self) -> Result<u64, UpstreamError> {
        Ok(self.blocks.len() as u64 - 1)
    }

    async fn hash_at(&self, number: u64) -> Result<Option<B256>, UpstreamError> {
        Ok(self.block(number).await?.map(|block| block.hash))
    }

    async fn block(&self, number: u64) -> Result<Option<NitroBlock>, UpstreamError> {
        Ok(self.blocks.get(number as usize).cloned())
    }

    async fn short_block(&self, number: u64) -> Result<Option<NitroBlock>, UpstreamError> {
        self.block(number).await
    }

    async fn block_and_latest(
        &self,
        number: u64,
    ) -> Result<(Option<NitroBlock>, u64), UpstreamError> {
        Ok((self.block(number).await?, self.latest().await?))
    }

    async fn finalized(&self) -> Result<Option<BlockId>, UpstreamError> {
        let number = *self.finalized.lock();
        let block = number.and_then(|number| self.blocks.get(number as usize));
        Ok(block.map(|block| BlockId { number: block.number(), hash: block.hash }))
    }

    async fn view(&self, contract: Address, data: Bytes) -> Result<Bytes, UpstreamError> {
        assert_eq!(contract, Address::with_last_byte(0xc8));
        let word = |number: u64| Bytes::from(U256::from(number).to_be_bytes::<32>());
        match data.len() {
            4 => self.first.lock().clone().map(|first| first.map_or_else(Bytes::new, word)),
            _ => {
                let (batches, asked) = &mut *self.batches.lock();
                *asked += 1;
                let number: u64 = U256::from_be_slice(&data[4..]).to();
                Ok(word(batches.iter().take_while(|last| **last < number).count() as u64))
            }
        }
    }
}

struct Chain {
    verifier: Running,
    board: Arc<Board>,
    head: PublishedHead,
    store: MemoryStore,
    tenure: BatcherTenure,
    require: NitroRequire,
    proofs: HotshotProofs,
    node: Node,
    parent: Parent,
    outside: Outside,
}

type Running = Verifier<NitroChain<Parent>, Node, Outside, Outside>;

impl Chain {
    /// A chain whose messages are signed by a scheme.
    fn new(scheme: Scheme, require: NitroRequire, has_twists: bool) -> Self {
        let (_, _, posted, _) = golden_chain(scheme);
        let first = if has_twists { 0 } else { 1 };
        Self::of(posted.into_iter().map(|posted| posted[first..].to_vec()).collect(), require)
    }

    /// A chain for whose blocks this is posted.
    fn of(posted: Vec<Vec<Vec<u8>>>, require: NitroRequire) -> Self {
        Self::with(posted, require, BatcherTenure::always(signer()), |_| {})
    }

    fn with(
        posted: Vec<Vec<Vec<u8>>>,
        require: NitroRequire,
        tenure: BatcherTenure,
        change: impl FnOnce(&mut Vec<NitroBlock>),
    ) -> Self {
        let (chain_id, mut blocks, _, parent) = golden_chain(Scheme::SignatureV2);
        change(&mut blocks);
        let outside = Outside::default();
        posted.into_iter().for_each(|payloads| outside.post(payloads));
        let (blocks, finalized) = (Arc::new(blocks), Arc::default());
        let (batches, first) = (Arc::default(), Arc::new(Mutex::new(Ok(None))));
        let node = Node { chain_id, blocks, finalized, batches, first };
        let store = MemoryStore::default();
        let proofs = HotshotProofs::Off;
        let options = (require, tenure, proofs);
        let (verifier, board, head) = start(&node, &parent, &outside, &store, options);
        Self { verifier, board, head, store, tenure, require, proofs, node, parent, outside }
    }

    fn restart(&mut self) {
        self.store = self.store.reopen();
        let options = (self.require, self.tenure, self.proofs);
        (self.verifier, self.board, self.head) =
            start(&self.node, &self.parent, &self.outside, &self.store, options);
    }

    async fn settle(&mut self) -> (Option<u64>, &'static str) {
        for _ in 0..30 {
            self.verifier.round().await.unwrap();
        }
        let head = self.head.borrow().clone();
        (head.as_deref().map(|head: &HeadReport| head.number), self.board.findings().stall.code())
    }
}

fn start(
    node: &Node,
    parent: &Parent,
    outside: &Outside,
    store: &MemoryStore,
    (require, tenure, proofs): (NitroRequire, BatcherTenure, HotshotProofs),
) -> (Running, Arc<Board>, PublishedHead) {
    let metrics = Metrics::new();
    let (keeper, head) = HeadKeeper::new(store.clone(), metrics.clone());
    let board = Arc::<Board>::default();
    let feed = outside.clone();
    let parts = Parts {
        rollup: NitroChain::new(parent.clone(), None, require),
        node: node.clone(),
        l1: outside.clone(),
        open_feed: Box::new(move |_| feed.clone()),
        keeper,
        news: News::default(),
        board: Arc::clone(&board),
        metrics,
    };
    let options = Options {
        interval: Duration::ZERO,
        namespace: None,
        batchers: BatcherSource::Fixed(vec![tenure]),
        light_client: None,
        initial_hotshot_height: Some(0),
        budget: BUDGET,
        trust_node_finalized: false,
        proofs,
    };
    // Verification starts at genesis once the node has said that it has nothing final.
    (Verifier::new(parts, options), board, head)
}

#[tokio::test(start_paused = true)]
async fn golden_chains_move_the_head_by_what_is_signed() {
    let all = Some(10);
    for (scheme, require, has_twists, expected) in [
        (Scheme::SignatureV2, NitroRequire::Hash, false, (all, "up_to_date")),
        (Scheme::SignatureV2, NitroRequire::Hash, true, (all, "up_to_date")),
        (Scheme::SignatureV2, NitroRequire::Inputs, true, (all, "up_to_date")),
        (Scheme::Signature, NitroRequire::Hash, false, (None, "hash_unsigned")),
        (Scheme::Signature, NitroRequire::Inputs, false, (all, "up_to_date")),
    ] {
        let mut chain = Chain::new(scheme, require, has_twists);
        assert_eq!(chain.settle().await, expected, "{scheme:?} {require:?} {has_twists}");
        let proof = chain.board.findings().block;
        let shown = match (expected.0, scheme) {
            (None, _) => (None, None),
            (Some(_), Scheme::SignatureV2) => (Some("hash"), Some(0)),
            (Some(_), _) => (Some("inputs"), None),
        };
        assert_eq!((proof.proven, proof.hash_since), shown);
        let head = chain.head.borrow().clone().and_then(|head| head.block.clone());
        let head = head.map(|block| (block.proven, block.hash_since));
        assert_eq!(head, shown.0.map(|proven| (proven.to_owned(), shown.1)));
    }
}

/// Copies of a sequencer's message that read as messages of the delayed inbox, since an L2 user has
/// put their headers into its content.
#[tokio::test(start_paused = true)]
async fn no_embedded_message_keeps_its_own_from_the_head() {
    type Inner = fn(&Below) -> Vec<(u64, MessageHeader)>;
    let far: Inner = |_| vec![claimed(1 << 60, 5)];
    let next: Inner = |below| {
        let count = below.delayed_messages_read + 1;
        (0..20).map(|more| claimed(count, 1_700_000_000 + more)).collect()
    };
    let behind: Inner = |below| vec![claimed(below.delayed_messages_read, 5)];
    for (case, inner) in [far, behind, next].into_iter().enumerate() {
        let mut chain = Chain::of(embedded_chain(inner), NitroRequire::Hash);
        assert_eq!(chain.settle().await, (Some(10), "up_to_date"), "{case}");
    }
}

/// The bridge has them by its count, but who is asked for its events does not know them yet.
#[tokio::test(start_paused = true)]
async fn messages_whose_events_are_not_found_are_waited_for() {
    let mut chain = Chain::new(Scheme::SignatureV2, NitroRequire::Hash, true);
    *chain.parent.lags.lock() = true;
    let messages = chain.parent.take();
    let elsewhere = messages.clone().into_iter().map(|(index, mut message)| {
        message.timestamp += 1;
        (index, message)
    });
    chain.parent.put(elsewhere.collect());
    let (head, code) = chain.settle().await;
    assert_eq!(code, "parent_unavailable");
    assert!(head < Some(10), "{head:?}");
    chain.parent.put(messages);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
}

/// What is asked for the message behind tells that the first one is not on the parent chain.
#[tokio::test(start_paused = true)]
async fn messages_of_before_a_reorg_of_the_parent_chain_are_passed_over() {
    let mut chain = Chain::of(chain_after_a_reorg(), NitroRequire::Hash);
    assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
}

/// The sequencer's own messages come instead of what the parent chain has lost: nothing that is
/// asked for them tells that it is lost.
#[tokio::test(start_paused = true)]
async fn messages_that_the_parent_chain_has_lost_hold_back_no_others() {
    let mut chain = Chain::of(chain_after_a_loss(1_700_000_000), NitroRequire::Hash);
    // What may come yet is waited for.
    let (head, code) = chain.settle().await;
    assert_eq!(code, "awaiting_parent_finality");
    assert!(head > Some(1), "{head:?}");
    *chain.parent.made_at.lock() = 1_700_000_001;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_is_waited_for_until_the_parent_chain_has_finalized_it() {
    let mut chain = Chain::new(Scheme::SignatureV2, NitroRequire::Hash, false);
    let messages = chain.parent.take();
    let (head, code) = chain.settle().await;
    assert_eq!(code, "awaiting_parent_finality");
    assert!(head < Some(10), "{head:?}");
    chain.parent.put(messages);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
}

/// The copies that prove blocks come last, and the budget is full before them.
#[tokio::test(start_paused = true)]
async fn reading_goes_on_for_a_copy_that_proves_the_block() {
    let each = |payloads: Vec<Vec<u8>>| payloads.into_iter().map(|it| vec![it]).collect::<Vec<_>>();
    let (_, _, unnamed, _) = golden_chain(Scheme::Signature);
    let unnamed = each(unnamed.into_iter().map(|[_, payload]| payload).collect());
    let (_, _, named, _) = golden_chain(Scheme::SignatureV2);
    let (hidden, named): (Vec<_>, Vec<_>) =
        named.into_iter().map(|[twisted, payload]| (twisted, payload)).unzip();
    let (hidden, named) = (each(hidden), each(named));
    let (old, new): (Vec<_>, Vec<_>) = chain_after_a_reorg()
        .into_iter()
        .map(|mut posted| {
            let new = posted.pop().unwrap();
            (posted, vec![new])
        })
        .unzip();
    for (case, first, then, require, waits) in [
        ("unsigned", unnamed, named.clone(), NitroRequire::Hash, "hash_unsigned"),
        ("hidden", hidden, named, NitroRequire::Inputs, "hash_hidden"),
        ("old", old, new, NitroRequire::Hash, ""),
    ] {
        let mut chain = Chain::of(first.clone(), require);
        chain.settle().await;
        let code = chain.board.findings().stall.code();
        assert!(waits.is_empty() || code == waits, "{case} {code}");
        for budget in [2, 6] {
            let mut chain = Chain::of([first.clone(), then.clone()].concat(), require);
            chain.verifier.candidates = Candidates::new(budget);
            assert_eq!(chain.settle().await, (Some(10), "up_to_date"), "{case} {budget}");
        }
    }
}

/// What nobody known has signed: garbage, and what others have signed, changed or cut.
fn hostile(honest: &[u8]) -> Vec<Vec<u8>> {
    let mut changed = honest.to_vec();
    let time = honest.windows(4).position(|bytes| bytes == b"1700").unwrap();
    changed[time] = b'9';
    let v0 = [&65_u64.to_be_bytes()[..], &[1; 65], &[0; 300]].concat();
    let cut = honest[..honest.len() - 1].to_vec();
    vec![changed, v0, cut, vec![7; 200], Vec::new(), b"{}".repeat(50)]
}

#[tokio::test(start_paused = true)]
async fn what_strangers_post_causes_no_request_and_is_not_kept() {
    let (_, _, posted, _) = golden_chain(Scheme::SignatureV2);
    let honest: Vec<_> = posted.into_iter().map(|[_, payload]| vec![payload]).collect();
    let limited = BatcherTenure { batcher: signer(), from: FINAL_L1, until: Some(FINAL_L1 + 1) };
    for tenure in [limited, BatcherTenure::always(signer())] {
        let strangers = vec![hostile(&honest[0][0]); 100];
        let posted = [strangers, honest.clone()].concat();
        let mut chain = Chain::with(posted, NitroRequire::Hash, tenure, |_| {});
        assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
        let headers = chain.outside.headers();
        let expected = if tenure == limited { (100..110).collect() } else { Vec::new() };
        assert_eq!(headers, expected);
        assert!(chain.verifier.candidates.is_empty());
        assert_eq!(chain.verifier.candidates.reread_from(), None);
        // What it costs where nothing strange was posted.
        let mut alone = Chain::with(honest.clone(), NitroRequire::Hash, tenure, |_| {});
        assert_eq!(alone.settle().await.0, Some(10));
        assert_eq!(chain.parent.calls(), alone.parent.calls());
    }
}

/// The keys that count are those of the header's L1 block then, too.
#[tokio::test(start_paused = true)]
async fn a_mismatch_names_its_transaction_where_keys_have_ranges() {
    let (_, _, posted, _) = golden_chain(Scheme::SignatureV2);
    let posted = posted.into_iter().map(|[_, payload]| vec![payload]).collect();
    let until = Some(FINAL_L1 + 1);
    let tenure = BatcherTenure { batcher: signer(), from: FINAL_L1, until };
    let other = |blocks: &mut Vec<NitroBlock>| blocks[3].hash = B256::repeat_byte(1);
    let mut chain = Chain::with(posted, NitroRequire::Hash, tenure, other);
    assert_eq!(chain.settle().await, (Some(2), "mismatch"));
    let mismatch = chain.board.findings().last_mismatch.clone().unwrap();
    assert!(mismatch.transaction.is_some(), "{mismatch:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_node_calls_finalized_must_be_in_a_batch_on_the_parent_chain() {
    let mut chain = Chain::new(Scheme::Signature, NitroRequire::Hash, false);
    *chain.node.finalized.lock() = Some(4);
    let (head, code) = chain.settle().await;
    assert_eq!((head, code), (None, "finality_unproven"), "{:?}", chain.board.findings());
    *chain.parent.batches.lock() = 1;
    assert_eq!(chain.settle().await, (Some(4), "hash_unsigned"));
    assert_eq!(chain.board.findings().node.finalized_proven.map(|block| block.number), Some(4));
    // The next one is in another batch, which the parent chain does not have.
    chain.node.batches.lock().0 = vec![4];
    *chain.node.finalized.lock() = Some(6);
    assert_eq!(chain.settle().await.0, Some(4));
}

/// The node reads the parent chain, too, and is a batch ahead each time.
#[tokio::test(start_paused = true)]
async fn what_was_final_to_the_node_is_admitted_when_the_parent_chain_has_it() {
    let mut chain = Chain::new(Scheme::Signature, NitroRequire::Hash, false);
    chain.node.batches.lock().0 = vec![2, 4, 6, 8];
    for (finalized, batches, expected) in
        [(2, 0, None), (4, 0, None), (6, 1, Some(2)), (8, 2, Some(4)), (9, 3, Some(6))]
    {
        *chain.node.finalized.lock() = Some(finalized);
        *chain.parent.batches.lock() = batches;
        assert_eq!(chain.settle().await.0, expected);
        let asked = chain.node.batches.lock().1;
        assert_eq!(chain.settle().await.0, expected);
        assert_eq!(chain.node.batches.lock().1, asked, "it was refused before");
    }
    *chain.parent.batches.lock() = 5;
    assert_eq!(chain.settle().await.0, Some(9));
}

/// A copy of a sequencer's message that reads as the next delayed one, but contradicts it.
fn contradicting(below: &Below, parent: &Parent) -> Vec<(u64, MessageHeader)> {
    let index = below.delayed_messages_read;
    let time = parent.messages().get(&index).map(|message| message.timestamp);
    time.map(|time| claimed(index + 1, time)).into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn only_a_message_of_before_a_reorg_supersedes_what_is_behind_it() {
    let other = |at: usize| {
        move |blocks: &mut Vec<NitroBlock>| {
            blocks[at].hash = B256::repeat_byte(1);
        }
    };
    let tenure = BatcherTenure::always(signer());
    let mut old = Chain::with(chain_after_a_reorg(), NitroRequire::Hash, tenure, other(5));
    assert_eq!(old.settle().await, (Some(4), "superseded"));

    let (_, _, _, parent) = golden_chain(Scheme::SignatureV2);
    let mut posted = embedded_chain(|below| contradicting(below, &parent));
    let rest = posted.split_off(3);
    let honest = posted[2].split_off(1);
    let mut chain = Chain::with(posted, NitroRequire::Hash, tenure, other(4));
    // As long as there is nothing else, it is asked whether the twist is on the parent chain.
    assert_eq!(chain.settle().await, (Some(2), "competing_fork"));
    [vec![honest], rest].concat().into_iter().for_each(|payloads| chain.outside.post(payloads));
    assert_eq!(chain.settle().await, (Some(3), "mismatch"));
}

/// The budget is full of what is for the blocks below.
#[tokio::test(start_paused = true)]
async fn a_copy_that_waits_holds_back_no_dropped_one() {
    let unknown = |below: &Below| vec![claimed(below.delayed_messages_read + 1, 5)];
    let mut posted = embedded_chain(unknown);
    posted.swap(0, 1);
    let mut chain = Chain::of(posted, NitroRequire::Hash);
    chain.verifier.candidates = Candidates::new(3);
    assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
}

/// What would prove the block is not under the light client's root yet.
#[tokio::test(start_paused = true)]
async fn a_covered_twist_is_no_mismatch_before_its_message_is_covered() {
    let (_, _, posted, _) = golden_chain(Scheme::Signature);
    let (_, _, named, _) = golden_chain(Scheme::SignatureV2);
    let elsewhere =
        |golden: usize| vec![vec![posted[golden][1].clone()], vec![named[golden][1].clone()]];
    let mut chain = Chain::of(elsewhere(0), NitroRequire::Hash);
    chain.proofs = HotshotProofs::Root;
    chain.restart();
    chain.verifier.round().await.unwrap();
    chain.verifier.audit.start(1);
    assert_eq!(chain.settle().await, (None, "awaiting_checkpoint"));
    chain.verifier.audit.start(2);
    assert_eq!(chain.settle().await.0, Some(1));
}

/// Each asks the parent chain at another time.
#[tokio::test(start_paused = true)]
async fn at_most_sixteen_questions_are_asked_for_a_block_in_a_walk() {
    let many = |below: &Below| {
        let count = below.delayed_messages_read + 1;
        (0..40).map(|more| claimed(count, 5 + more)).collect()
    };
    let posted = embedded_chain(many).swap_remove(0);
    let (twists, honest) = posted.split_at(40);
    let mut chain = Chain::of(vec![twists.to_vec()], NitroRequire::Hash);
    for _ in 0..4 {
        let before = chain.parent.asked();
        chain.verifier.round().await.unwrap();
        assert!(chain.parent.asked() - before <= 16);
    }
    assert_eq!(chain.parent.asked(), 40);
    chain.outside.post(honest.to_vec());
    assert_eq!(chain.settle().await.0, Some(1));

    // What Ethereum has finalized meanwhile waits for none that begins after two seconds.
    let mut chain = Chain::of(vec![twists.to_vec()], NitroRequire::Hash);
    *chain.parent.delay.lock() = Duration::from_millis(700);
    for _ in 0..20 {
        let before = chain.parent.asked();
        chain.verifier.round().await.unwrap();
        assert!(chain.parent.asked() - before <= 3);
    }
    assert_eq!(chain.parent.asked(), 40);
    chain.outside.post(honest.to_vec());
    assert_eq!(chain.settle().await.0, Some(1));
}

#[tokio::test(start_paused = true)]
async fn the_first_block_is_what_is_set_or_what_the_node_says() {
    let chain = Chain::new(Scheme::SignatureV2, NitroRequire::Hash, false);
    let (node, parent) = (chain.node, chain.parent);
    let reverted = |code, message: &str| UpstreamError::Rpc { code, message: message.into() };
    for (set, said, chain_id, expected) in [
        (None, Ok(Some(3)), node.chain_id, Ok(3)),
        (None, Ok(None), node.chain_id, Ok(0)),
        (None, Err(reverted(-32000, "execution reverted")), node.chain_id, Ok(0)),
        (None, Err(reverted(3, "")), node.chain_id, Ok(0)),
        (Some(3), Ok(None), node.chain_id, Ok(3)),
        (Some(3), Ok(Some(3)), node.chain_id, Ok(3)),
        (Some(3), Ok(Some(4)), node.chain_id, Err(Some("config_mismatch"))),
        (Some(0), Ok(Some(3)), node.chain_id, Err(Some("config_mismatch"))),
        (None, Ok(Some(3)), 42_161, Ok(3)),
        // The node of the test has no such block.
        (None, Ok(None), 42_161, Err(None)),
        (Some(3), Err(reverted(-32000, "header not found")), node.chain_id, Err(None)),
        (None, Err(UpstreamError::Connection(String::new())), node.chain_id, Err(None)),
    ] {
        *node.first.lock() = said.clone();
        let rollup = NitroChain::new(parent.clone(), set, NitroRequire::Hash);
        let found = rollup.chain(chain_id, &node).await.map(|chain| chain.genesis.number);
        let found = found.map_err(|error| match Stall::from(error) {
            Stall::ChainUnknown(_) => None,
            other => Some(other.code()),
        });
        assert_eq!(found, expected, "{set:?} {said:?} {chain_id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_with_another_first_block_than_the_store_is_refused() {
    let mut chain = Chain::new(Scheme::SignatureV2, NitroRequire::Hash, false);
    assert_eq!(chain.settle().await.0, Some(10));
    *chain.node.first.lock() = Ok(Some(3));
    chain.restart();
    let refused = chain.verifier.round().await.unwrap_err();
    assert!(matches!(refused, StoreError::OtherChain { .. }), "{refused:?}");
}

/// A single endpoint must say twice what is final: until then nothing is wrong.
#[tokio::test(start_paused = true)]
async fn a_parent_chain_that_is_not_read_yet_is_waited_for() {
    let mut chain = Chain::new(Scheme::SignatureV2, NitroRequire::Hash, false);
    *chain.parent.is_unread.lock() = true;
    assert_eq!(chain.settle().await, (Some(3), "awaiting_parent_finality"));
    let mut other = Chain::new(Scheme::SignatureV2, NitroRequire::Hash, false);
    (*other.parent.is_unread.lock(), *other.node.finalized.lock()) = (true, Some(4));
    *other.parent.batches.lock() = 1;
    assert_eq!(other.settle().await, (None, "finality_unproven"));
    for chain in [&mut chain, &mut other] {
        *chain.parent.is_unread.lock() = false;
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_proven_of_blocks_is_known_after_a_restart() {
    for (scheme, shown) in
        [(Scheme::SignatureV2, ("hash", Some(0))), (Scheme::Signature, ("inputs", None))]
    {
        let mut chain = Chain::new(scheme, NitroRequire::Inputs, false);
        assert_eq!(chain.settle().await.0, Some(10));
        let proof = |chain: &Chain| {
            let head = chain.head.borrow().clone().unwrap();
            let found = chain.board.findings().block;
            let block = head.block.clone().map(|block| (block.proven, block.hash_since));
            assert_eq!(block, found.proven.map(|proven| (proven.to_owned(), found.hash_since)));
            block
        };
        let expected = Some((shown.0.to_owned(), shown.1));
        assert_eq!(proof(&chain), expected);
        chain.restart();
        assert_eq!(proof(&chain), expected, "from the start");
        assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
        assert_eq!(proof(&chain), expected);
        // As an earlier sidecar has stored it.
        let mut record = chain.store.on_disk().unwrap();
        record.audit.block = None;
        chain.store = MemoryStore::with(record);
        chain.restart();
        assert_eq!(chain.settle().await, (Some(10), "up_to_date"));
        assert_eq!(proof(&chain), None);
    }
}

/// A message that does not name its block is known again by the node's block.
#[tokio::test(start_paused = true)]
async fn the_message_of_the_head_is_found_again_without_a_hash() {
    let mut chain = Chain::new(Scheme::Signature, NitroRequire::Inputs, false);
    assert_eq!(chain.settle().await.0, Some(10));
    let node = &chain.node;
    let (_, _, posted, parent) = golden_chain(Scheme::Signature);
    let rollup = NitroChain::new(parent, None, NitroRequire::Inputs);
    rollup.chain(node.chain_id, node).await.unwrap();
    rollup.batchers().extend([signer()]);
    let batches: Vec<_> = posted
        .iter()
        .map(|[_, payload]| rollup.admit(payload, None).into_iter().next().unwrap().unwrap())
        .collect();
    let block = &node.blocks[10];
    let head = HeadBlock { number: 10, hash: Some(block.hash), l1_origin: None };
    let at = Position::start_of(9);
    let mut other = batches[9];
    other.content.header.timestamp += 1;
    for (batch, expected) in [(&batches[9], Some(at)), (&batches[8], None), (&other, None)] {
        assert_eq!(chain.verifier.find_head(head, &[(at, batch)]).await, Some(expected));
    }
    let elsewhere = HeadBlock { hash: Some(B256::ZERO), ..head };
    assert_eq!(chain.verifier.find_head(elsewhere, &[(at, &batches[9])]).await, None);
    // What names another hash forbids what proves the inputs alone.
    let mut named = batches[9];
    named.facts.block_hash = Some(B256::ZERO);
    for copies in [[&batches[9], &named], [&named, &batches[9]]] {
        let copies = copies.map(|batch| (at, batch));
        assert_eq!(chain.verifier.find_head(head, &copies).await, Some(None));
    }
}
