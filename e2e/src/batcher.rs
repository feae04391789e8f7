//! The batcher: posts the sequencer's blocks to HotShot, honestly or not.

use std::sync::{Arc, Mutex};

use crate::{
    batch::{Batch, Shape},
    block::{self, Block},
    hotshot::{Hotshot, Transaction},
    rollup::{Poster, Rollup},
    signer::Signer,
};

/// The namespace of our rollup: its chain id.
#[must_use]
pub fn namespace() -> u32 {
    u32::try_from(block::CHAIN_ID).unwrap_or(u32::MAX)
}

/// An OP rollup, whose blocks the batcher posts.
pub trait OpRollup: Rollup<Block = Block, Poster = Batcher> {}

impl<R: Rollup<Block = Block, Poster = Batcher>> OpRollup for R {}

/// The batcher.
#[derive(Debug)]
pub struct Batcher {
    hotshot: Arc<Hotshot>,
    /// Its keys, each with the first L1 block at which it is authorized.
    keys: Mutex<Vec<(u64, Signer)>>,
}

impl Batcher {
    /// A batcher with the authorized key.
    #[must_use]
    pub fn new(hotshot: Arc<Hotshot>) -> Self {
        Self { hotshot, keys: Mutex::new(vec![(0, Signer::batcher())]) }
    }

    /// Signs with another key the batches with an L1 origin of at least `from`.
    pub fn rotate(&self, from: u64, signer: Signer) {
        self.keys.lock().unwrap().push((from, signer));
    }

    /// The payload of a batch, signed by the key that is authorized at its L1 origin.
    fn sign(&self, batch: &Batch, shape: Shape) -> Vec<u8> {
        let keys = self.keys.lock().unwrap();
        let in_force = keys.iter().rfind(|(from, _)| *from <= batch.content.epoch_number);
        let (_, signer) = in_force.expect("the first key is authorized from the start");
        signer.sign(&batch.body(shape))
    }

    /// Posts blocks as they are, in this order. Both shapes occur.
    pub fn post(&self, blocks: &[Arc<Block>]) {
        for block in blocks {
            let shape =
                if block.number.is_multiple_of(2) { Shape::ThreeFields } else { Shape::FourFields };
            self.post_batch(&block.batch, shape);
        }
    }

    /// Posts a batch with any content under the authorized signature; returns the payload.
    pub fn post_batch(&self, batch: &Batch, shape: Shape) -> Vec<u8> {
        let payload = self.sign(batch, shape);
        let confirms = vec![(batch.header.number, batch.header.hash_slow())];
        let (namespace, copy) = (namespace(), payload.clone());
        self.hotshot.submit(Transaction { namespace, payload: copy, confirms });
        payload
    }

    /// Posts a batch under an unauthorized signature.
    pub fn post_unauthorized(&self, batch: &Batch) {
        self.post_as(&Signer::unauthorized(), batch);
    }

    /// Posts a batch under a signature that is not authorized for it.
    pub fn post_as(&self, signer: &Signer, batch: &Batch) {
        self.post_bytes(signer.sign(&batch.body(Shape::FourFields)));
    }

    /// Posts any bytes, as anybody can.
    pub fn post_bytes(&self, payload: Vec<u8>) {
        let transaction = Transaction { namespace: namespace(), payload, confirms: Vec::new() };
        self.hotshot.submit(transaction);
    }
}

impl Poster<Block> for Batcher {
    fn post(&self, blocks: &[Arc<Block>]) {
        self.post(blocks);
    }
}
