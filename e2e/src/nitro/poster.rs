//! Who posts the messages of a Nitro chain to HotShot, and how.

use std::sync::{Arc, Mutex};

use alloy_primitives::B256;

use super::{block::Block, feed::FeedMessage, message::Message, payloads};
use crate::{
    hotshot::{Hotshot, Transaction},
    rollup::Poster,
    signer::Signer,
};

/// How messages are posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Posting {
    /// By the forked batch poster, which signs.
    V0,
    /// By the posting service, beside a Nitro up to 3.9.
    Signature,
    /// By the posting service, beside a Nitro since 3.10.
    #[default]
    SignatureV2,
    /// The same from a backlog that was filled again, which has no hashes of blocks.
    Refilled,
    /// With both signatures.
    Both,
}

#[derive(Debug, Clone, Copy)]
struct Habits {
    posting: Posting,
    per_payload: usize,
    signer: Signer,
}

/// The poster.
#[derive(Debug)]
pub struct NitroPoster {
    hotshot: Arc<Hotshot>,
    chain_id: u64,
    habits: Mutex<Habits>,
}

impl NitroPoster {
    /// A poster with the authorized key.
    #[must_use]
    pub fn new(hotshot: Arc<Hotshot>, chain_id: u64, posting: Posting) -> Self {
        let habits = Habits { posting, per_payload: 4, signer: Signer::batcher() };
        Self { hotshot, chain_id, habits: Mutex::new(habits) }
    }

    /// Posts in another way from now on.
    pub fn set_posting(&self, posting: Posting) {
        self.habits.lock().unwrap().posting = posting;
    }

    /// Puts that many messages into a payload from now on.
    pub fn set_per_payload(&self, count: usize) {
        self.habits.lock().unwrap().per_payload = count;
    }

    /// Signs with another key from now on.
    pub fn set_signer(&self, signer: Signer) {
        self.habits.lock().unwrap().signer = signer;
    }

    /// The message of a block as the feed has it now.
    #[must_use]
    pub fn feed(&self, block: &Block) -> FeedMessage {
        let Habits { posting, signer, .. } = *self.habits.lock().unwrap();
        let feed = FeedMessage::of(block);
        match posting {
            Posting::V0 => feed,
            Posting::Signature => {
                FeedMessage { block_hash: None, ..feed }.sign(&signer, self.chain_id)
            }
            Posting::SignatureV2 => feed.sign_v2(&signer, self.chain_id),
            Posting::Refilled => {
                FeedMessage { block_hash: None, ..feed }.sign_v2(&signer, self.chain_id)
            }
            Posting::Both => feed.sign(&signer, self.chain_id).sign_v2(&signer, self.chain_id),
        }
    }

    /// The payload with the messages of blocks.
    #[must_use]
    pub fn payload(&self, blocks: &[Arc<Block>]) -> Vec<u8> {
        let Habits { posting, signer, .. } = *self.habits.lock().unwrap();
        if posting == Posting::V0 {
            let messages: Vec<Message> =
                blocks.iter().map(|block| block.message().clone()).collect();
            return payloads::v0(&signer, &messages);
        }
        payloads::v1(&blocks.iter().map(|block| self.feed(block)).collect::<Vec<_>>())
    }

    /// Posts the messages of blocks, in this order.
    pub fn post(&self, blocks: &[Arc<Block>]) {
        let per_payload = self.habits.lock().unwrap().per_payload;
        for blocks in blocks.chunks(per_payload) {
            let confirms = blocks.iter().map(|block| (block.header.number, block.hash)).collect();
            self.submit(self.payload(blocks), confirms);
        }
    }

    /// Posts messages of the feed as they are, in one payload.
    pub fn post_feed(&self, messages: &[FeedMessage]) {
        self.post_bytes(payloads::v1(messages));
    }

    /// The same, if the honest messages of these blocks are among them.
    pub fn post_confirmed(&self, messages: &[FeedMessage], blocks: &[Arc<Block>]) {
        let confirms = blocks.iter().map(|block| (block.header.number, block.hash)).collect();
        self.submit(payloads::v1(messages), confirms);
    }

    /// Posts any bytes, as anybody can.
    pub fn post_bytes(&self, payload: Vec<u8>) {
        self.submit(payload, Vec::new());
    }

    fn submit(&self, payload: Vec<u8>, confirms: Vec<(u64, B256)>) {
        let namespace = u32::try_from(self.chain_id).unwrap();
        self.hotshot.submit(Transaction { namespace, payload, confirms });
    }
}

impl Poster<Block> for NitroPoster {
    fn post(&self, blocks: &[Arc<Block>]) {
        self.post(blocks);
    }
}
