//! A model of which message of a Nitro chain decides: copies and twists by several signers, in any
//! order, on a chain that the node may have left, while the parent chain becomes final and the
//! budget is short.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use finality_sidecar::{
    batchers::{Authority, BatcherTenure},
    config::NitroRequire,
    eth::BlockId,
    head::HeadBlock,
    l1::{DelayedMessage, Sought, View},
    node::Transaction,
    rollup::{
        Batch, Payloads, Position, Proven, Rollup as _, Uncompared,
        nitro::{
            Below, Copy, DelayedPlace, Facts, MessageHeader, MessageKind, NitroBlock, NitroChain,
            Origin, ParentSource, SEQUENCER, Transactions,
        },
    },
    upstream::UpstreamError,
    verifier::{Candidates, Choice, Stall, choose, copies_of},
};

type Kept = Batch<Facts, Copy>;
type Chain = NitroChain<Parent>;

const CHAIN_ID: u64 = 7;
const TIME: u64 = 1_700_000_000;
/// Messages of the delayed inbox, by index.
const DELAYED: u64 = 6;
/// More steps than any schedule needs.
const MOST_STEPS: usize = 5_000;
/// `startBlock(uint256,uint64,uint64,uint64)`.
const START_BLOCK: [u8; 4] = [0x6b, 0xf6, 0xa4, 0x2d];

/// The parent chain: so many messages of the delayed inbox are final.
#[derive(Debug, Clone)]
struct Parent(Arc<AtomicU64>);

impl Parent {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn message(index: u64) -> DelayedMessage {
        DelayedMessage {
            kind: MessageKind::ETH_DEPOSIT.0,
            sender: Address::repeat_byte(9),
            block_number: 50 + index,
            timestamp: TIME + 10 * index,
            base_fee: U256::from(index),
            data_hash: keccak256(index.to_be_bytes()),
            data: None,
        }
    }
}

impl ParentSource for Parent {
    async fn finalized(&self) -> Result<(Option<BlockId>, u64), UpstreamError> {
        Ok((Some(BlockId { number: self.count(), hash: B256::ZERO }), 0))
    }

    async fn delayed_count(&self, block: BlockId) -> Result<u64, UpstreamError> {
        Ok(block.number)
    }

    async fn delayed_message(
        &self,
        place: DelayedPlace,
        _: BlockId,
    ) -> Result<Sought<DelayedMessage>, UpstreamError> {
        let message = Self::message(place.index);
        Ok(match message.timestamp == place.timestamp {
            true => Sought::Found(message),
            false => Sought::Elsewhere,
        })
    }

    /// Before the next message; long after the last one.
    async fn made_at(&self, block: BlockId) -> Result<u64, UpstreamError> {
        Ok(if block.number < DELAYED { TIME + 10 * block.number - 5 } else { u64::MAX })
    }

    async fn batch_count(&self, _: BlockId) -> Result<u64, UpstreamError> {
        Ok(0)
    }
}

/// Choices out of the input; zeros when it has ended.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self, below: u64) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(*first) % below
    }

    fn is(&mut self, one_in: u64) -> bool {
        self.next(one_in) == one_in - 1
    }
}

fn signer(index: u64) -> Address {
    Address::repeat_byte(1 + index as u8)
}

fn header(delayed: Option<u64>, time: u64) -> MessageHeader {
    match delayed.map(|index| (index, Parent::message(index))) {
        None => MessageHeader {
            kind: MessageKind::L2,
            poster: SEQUENCER,
            block_number: 100,
            timestamp: time,
            request_id: None,
            l1_base_fee: U256::ZERO,
        },
        Some((index, message)) => MessageHeader {
            kind: MessageKind(message.kind),
            poster: message.sender,
            block_number: message.block_number,
            timestamp: message.timestamp,
            request_id: Some(B256::from(U256::from(index))),
            l1_base_fee: message.base_fee,
        },
    }
}

/// What the sequencer signed for a block in one of its histories.
#[derive(Debug, Clone)]
struct Message {
    number: u64,
    fork: u64,
    read: u64,
    header: MessageHeader,
    block: NitroBlock,
    is_named: bool,
}

impl Message {
    /// The message of a history on top of a block; a history that the node does not follow may
    /// have another count.
    fn draw(choices: &mut Choices<'_>, below: &Below, fork: u64) -> Self {
        let number = below.number + 1;
        let is_delayed = below.delayed_messages_read < DELAYED && choices.is(3);
        let delayed = is_delayed.then_some(below.delayed_messages_read);
        let astray = if fork > 0 && choices.is(4) { 1 + choices.next(2) } else { 0 };
        let header = header(delayed.map(|index| index + astray), TIME + number * 2 + fork);
        let read = below.delayed_messages_read + u64::from(is_delayed) + astray;
        let timestamp = header.timestamp.max(below.timestamp);
        let l1_block_number = header.block_number.max(below.l1_block_number);
        let words = [
            header.l1_base_fee,
            U256::from(header.block_number),
            U256::from(number),
            U256::from(timestamp - below.timestamp),
        ];
        let words = words.iter().flat_map(|word| word.to_be_bytes::<32>());
        let input: Bytes = START_BLOCK.into_iter().chain(words).collect();
        let first = Transaction { hash: B256::ZERO, kind: Some("0x6a".into()), input };
        let block = NitroBlock {
            number,
            hash: keccak256([number as u8, fork as u8, 1]),
            parent_hash: below.hash,
            poster: header.poster,
            timestamp,
            delayed_messages_read: read,
            l1_block_number,
            arbos_version: 32,
            transactions: vec![first],
        };
        Self { number, fork, read, header, block, is_named: !choices.is(4) }
    }

    /// The digest of a signature by a scheme.
    fn digest(&self, scheme: u64) -> B256 {
        keccak256([self.number as u8, self.fork as u8, 2 + scheme as u8])
    }

    /// The message under `signatureV2`, with its hash if that is signed.
    fn honest(&self, signer: Address) -> Kept {
        let origin = match self.header.request_id {
            Some(_) => Origin::DelayedInbox,
            None => Origin::Sequencer,
        };
        let content = match self.header.request_id {
            Some(id) => Parent::message(U256::from_be_bytes(id.0).to()).data_hash,
            None => keccak256([]),
        };
        let content = Copy {
            message: keccak256([self.number as u8, self.fork as u8, 0]),
            digests: [None, Some(self.digest(1))],
            origin,
            delayed_messages_read: self.read,
            header: self.header,
            content: Some(content),
            batch_gas: None,
            batch_data: None,
            metadata: 1,
            transactions: Transactions::Listed { count: 0, digest: keccak256([]) },
        };
        let block_hash = self.is_named.then_some(self.block.hash);
        Batch { signer, facts: Facts { number: self.number, block_hash, l1_block: 0 }, content }
    }

    /// One more copy.
    fn copy(&self, choices: &mut Choices<'_>) -> Kept {
        let mut copy = self.honest(signer(choices.next(2)));
        let content = &mut copy.content;
        match choices.next(7) {
            0 => {}
            // As V0, which leaves out what the delayed inbox has.
            1 => {
                (content.digests, content.metadata) = ([None, None], 0);
                copy.facts.block_hash = None;
                if content.origin == Origin::DelayedInbox {
                    content.content = None;
                }
            }
            // Under the feed's first signature.
            2 => {
                (content.digests, content.metadata) = ([Some(self.digest(0)), None], 0);
                copy.facts.block_hash = None;
            }
            // The hash is moved into the metadata.
            3 => {
                content.metadata += if self.is_named { 32 } else { 0 };
                copy.facts.block_hash = None;
            }
            // Another message under the same signature, with any count, as a delayed one.
            4 => {
                let index = choices.next(DELAYED + 1);
                content.header = header(Some(index), 0);
                content.header.timestamp += choices.next(2);
                content.header.kind = MessageKind::L2;
                self.twist(content, index, 40 + choices.next(40) as usize);
            }
            // The same, and it is what the parent chain has.
            5 => {
                let index = choices.next(DELAYED);
                content.header = header(Some(index), 0);
                self.twist(content, index, 80);
                content.content = Some(Parent::message(index).data_hash);
            }
            // Both signatures of the feed.
            _ => content.digests = [Some(self.digest(0)), Some(self.digest(1))],
        }
        copy
    }

    fn twist(&self, content: &mut Copy, index: u64, metadata: usize) {
        content.origin = Origin::DelayedInbox;
        content.delayed_messages_read = index + 1;
        content.metadata = metadata;
        let bytes = [self.number, index, content.header.timestamp, metadata as u64];
        content.message = keccak256(bytes.map(u64::to_be_bytes).concat());
        content.content = Some(content.message);
    }
}

struct World {
    blocks: Vec<NitroBlock>,
    /// What is on HotShot, by height.
    posted: Vec<Kept>,
    chain: Chain,
    parent: Parent,
    view: View,
    require: NitroRequire,
}

impl World {
    fn draw(choices: &mut Choices<'_>) -> Self {
        let require = if choices.is(2) { NitroRequire::Inputs } else { NitroRequire::Hash };
        let genesis = NitroBlock {
            number: 0,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            poster: Address::ZERO,
            timestamp: TIME,
            delayed_messages_read: 1,
            l1_block_number: 1,
            arbos_version: 32,
            transactions: Vec::new(),
        };
        let (mut blocks, mut posted) = (vec![genesis], Vec::new());
        for _ in 0..1 + choices.next(4) {
            let below = Below::from(&blocks[blocks.len() - 1]);
            let forks = 1 + choices.next(2);
            let messages: Vec<_> =
                (0..forks).map(|fork| Message::draw(choices, &below, fork)).collect();
            for message in &messages {
                for _ in 0..1 + choices.next(5) {
                    posted.push(message.copy(choices));
                }
                if choices.is(8) {
                    posted.extend((0..70).map(|more| {
                        let mut copy = message.honest(signer(0));
                        copy.facts.block_hash = None;
                        message.twist(&mut copy.content, DELAYED + 9, 200 + more);
                        copy
                    }));
                }
                if !choices.is(6) {
                    posted.push(message.honest(signer(choices.next(2))));
                }
            }
            // No node builds on a count that the chain does not have.
            let followed = &messages[choices.next(forks) as usize];
            let is_possible = followed.read - below.delayed_messages_read <= 1;
            let followed = if is_possible { followed } else { &messages[0] };
            let mut block = followed.block.clone();
            if choices.is(12) {
                block.hash = B256::repeat_byte(0xee);
            }
            blocks.push(block);
        }
        for last in (1..posted.len()).rev() {
            // Mostly as it was posted.
            if choices.is(3) {
                posted.swap(last, choices.next(last as u64 + 1) as usize);
            }
        }
        let parent = Parent(Arc::new(AtomicU64::new(choices.next(DELAYED + 1))));
        let chain = NitroChain::new(parent.clone(), None, require);
        chain.begin(CHAIN_ID, 0);
        let mut view = View::new(Ok(None));
        let tenures = [0, 1].map(|index| BatcherTenure::always(signer(index)));
        view.know_authority(Authority::fixed(tenures.to_vec()).into());
        Self { blocks, posted, chain, parent, view, require }
    }

    fn of(&self, number: u64) -> Vec<&Kept> {
        self.posted.iter().filter(|copy| copy.facts.number == number).collect()
    }

    /// Whether a copy has a place, once the parent chain has finalized everything.
    fn counts(&self, copy: &Kept) -> bool {
        let read = self.blocks[copy.facts.number as usize - 1].delayed_messages_read;
        let content = &copy.content;
        if content.origin == Origin::Sequencer {
            return content.delayed_messages_read == read;
        }
        let message = Parent::message(read);
        content.delayed_messages_read == read + 1
            && read < DELAYED
            && content.header == header(Some(read), 0)
            && content.content.is_none_or(|content| content == message.data_hash)
    }

    /// The copies that stand or fall with the first one that counts.
    fn deciding(&self, number: u64) -> Vec<&Kept> {
        let mut rest = self.of(number);
        let Some(first) = rest.iter().position(|copy| self.counts(copy)) else {
            return Vec::new();
        };
        let mut group = vec![rest.remove(first)];
        let mut seen = 0;
        while let Some(known) = group.get(seen).copied() {
            let (copies, others): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|other| shares(known, other));
            group.extend(copies);
            rest = others;
            seen += 1;
        }
        group
    }

    /// What was confirmed is what HotShot's order allows.
    fn check(&self, by: &Kept, copies: &[&Kept], proven: Proven) {
        let number = by.facts.number;
        let group = self.deciding(number);
        assert!(group.contains(&by), "{by:?} is not of the first group");
        let block = &self.blocks[number as usize];
        match proven {
            Proven::Hash => assert_eq!(by.facts.block_hash, Some(block.hash)),
            Proven::Inputs => {
                assert_eq!(self.require, NitroRequire::Inputs);
                let forbids = |copy: &&&Kept| {
                    copy.content.message == by.content.message
                        && copy.facts.block_hash.is_some_and(|hash| hash != block.hash)
                };
                assert_eq!(copies.iter().find(forbids), None, "forbidden");
                assert_eq!(by.content.header.poster, block.poster);
                assert_eq!(by.content.delayed_messages_read, block.delayed_messages_read);
            }
        }
    }

    /// Nothing is left that could move the head: that must have a reason.
    fn stopped(&self, number: u64, code: &str) {
        let Some(block) = self.blocks.get(number as usize) else { return };
        let group = self.deciding(number);
        let proves = |copy: &&Kept| copy.facts.block_hash == Some(block.hash);
        let is_proven = group.iter().any(proves);
        // A parent chain says no more that has no such message.
        let read = self.blocks[number as usize - 1].delayed_messages_read;
        let is_beyond = block.delayed_messages_read > read && read >= DELAYED;
        assert!(
            !is_proven || is_beyond,
            "stopped at {number} by {code}, though a copy proves it: {:#?}",
            self.of(number)
        );
    }
}

/// Whether two copies share a message or a digest, in whatever place.
fn shares(one: &Kept, other: &Kept) -> bool {
    let digests = |copy: &Kept| copy.content.digests.into_iter().flatten().collect::<BTreeSet<_>>();
    let heading = |copy: &Kept| {
        let content = copy.content;
        (content.origin, content.delayed_messages_read, content.header)
    };
    let is_omitted = one.content.content.is_none() || other.content.content.is_none();
    one.content.message == other.content.message
        || is_omitted && heading(one) == heading(other)
        || !digests(one).is_disjoint(&digests(other))
}

/// How far it is confirmed and read, as the verifier's loop does it.
struct Walk<'a> {
    world: &'a World,
    candidates: Candidates<Chain>,
    tip: Below,
    cursor: usize,
    /// The number and height for which it was read again last.
    reread: Option<(u64, u64)>,
}

/// What comes next.
enum Step {
    Confirmed(Below),
    Reread(u64),
    Waits(String),
}

impl Walk<'_> {
    fn next(&self) -> u64 {
        self.tip.number + 1
    }

    fn head(&self) -> HeadBlock {
        HeadBlock { number: self.tip.number, hash: Some(self.tip.hash), l1_origin: None }
    }

    /// Reads one more HotShot block, if there is one.
    fn read(&mut self) -> bool {
        let Some(batch) = self.world.posted.get(self.cursor) else { return false };
        let position = Position::start_of(self.cursor as u64);
        self.cursor += 1;
        if batch.facts.number >= self.next() && self.candidates.make_room(&self.world.chain, batch)
        {
            let tip = self.head();
            self.candidates
                .insert(position, *batch, &tip, |batch| self.world.chain.can_follow(&tip, batch));
        }
        true
    }

    async fn step(&self) -> Step {
        let (chain, mut asked) = (&self.world.chain, Vec::new());
        let chosen = loop {
            let choice =
                choose(chain, &self.candidates, &self.head(), Some(&self.tip), &self.world.view);
            match choice {
                Choice::Chosen(position, batch) => break (position, batch),
                Choice::Reread(height) => return Step::Reread(height),
                Choice::Stalled(stall) => return Step::Waits(stall.code().into()),
                Choice::Below => panic!("it is known"),
                Choice::Ask(question, reread) => {
                    if asked.contains(&question) || asked.len() >= 16 {
                        return match reread {
                            Some(height) => Step::Reread(height),
                            None => Step::Waits("unanswered".into()),
                        };
                    }
                    asked.push(question);
                    chain.ask_parent(question).await;
                }
            }
        };
        let Some(block) = self.world.blocks.get(self.next() as usize) else {
            return Step::Waits("node_missing_block".into());
        };
        let copies = copies_of(chain, &self.candidates, chosen);
        let copies: Vec<_> = copies.into_iter().map(|(_, batch)| batch).collect();
        let code = loop {
            match chain.compare(&copies, Payloads::default(), &self.tip, block) {
                Ok(verified) => {
                    let by = copies[verified.copy];
                    self.world.check(by, &copies, verified.proven);
                    return Step::Confirmed(verified.below);
                }
                Err(Uncompared::Ask(question)) if !asked.contains(&question) => {
                    asked.push(question);
                    chain.ask_parent(question).await;
                }
                Err(Uncompared::Differs(_)) => break "mismatch".to_owned(),
                Err(Uncompared::Waits(waiting)) => {
                    break Stall::of(self.next(), waiting).code().into();
                }
                Err(other) => break format!("{other:?}"),
            }
        };
        match self.candidates.dropped_for(self.next()) {
            Some(dropped) => Step::Reread(dropped.height),
            None => Step::Waits(code),
        }
    }

    async fn run(mut self) {
        for _ in 0..MOST_STEPS {
            match self.step().await {
                Step::Confirmed(below) => {
                    self.tip = below;
                    self.candidates.discard_up_to(below.number);
                }
                Step::Reread(height) if self.reread != Some((self.next(), height)) => {
                    self.reread = Some((self.next(), height));
                    self.candidates.reread(height);
                    self.cursor = self.cursor.min(height as usize);
                }
                // It would go in circles.
                Step::Reread(_) if self.read() => {}
                Step::Reread(_) => self.reread = None,
                Step::Waits(_) if self.read() => {}
                Step::Waits(code) => {
                    let is_all_final = self.world.parent.count() >= DELAYED;
                    if is_all_final {
                        return self.world.stopped(self.next(), &code);
                    }
                    self.world.parent.0.fetch_add(1, Ordering::Relaxed);
                    tokio::time::advance(std::time::Duration::from_secs(2)).await;
                }
            }
        }
        panic!("it goes in circles at {}: {:?}", self.next(), self.candidates);
    }
}

/// A schedule: whatever the bytes, no block is confirmed that HotShot's order does not allow, and
/// each that it allows is reached.
pub fn nitro_choice(data: &[u8]) {
    let mut choices = Choices(data);
    let world = World::draw(&mut choices);
    let mut counts = BTreeMap::<u64, usize>::new();
    for copy in &world.posted {
        *counts.entry(copy.facts.number).or_default() += 1;
    }
    // The copies for one block have room, though the signer of most gives way.
    let budget = 2 * counts.values().max().unwrap_or(&0) + 1 + choices.next(8) as usize;
    let walk = Walk {
        tip: Below::from(&world.blocks[0]),
        world: &world,
        candidates: Candidates::new(budget),
        cursor: 0,
        reread: None,
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(walk.run());
}
