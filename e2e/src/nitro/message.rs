//! Messages, from which Nitro's blocks are made: by the sequencer, or through the parent chain's
//! delayed inbox.

use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use alloy_rlp::{EMPTY_LIST_CODE, Encodable, RlpEncodable};

/// The poster of the sequencer's own messages.
pub const SEQUENCER: Address = address!("a4b000000000000000000073657175656e636572");
/// The longest content that ArbOS reads.
pub const MAX_CONTENT: usize = 256 * 1024;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(pub u8);

impl Kind {
    /// Transactions of L2.
    pub const L2: Self = Self(3);
    /// Nothing.
    pub const END_OF_BLOCK: Self = Self(6);
    /// A transaction, and the ether for it.
    pub const FUNDED: Self = Self(7);
    /// Nothing that is executed.
    pub const ROLLUP_EVENT: Self = Self(8);
    /// A retryable ticket.
    pub const RETRYABLE: Self = Self(9);
    /// The first message of a chain.
    pub const INIT: Self = Self(11);
    /// Ether.
    pub const DEPOSIT: Self = Self(12);
    /// What posting a batch has cost.
    pub const BATCH_REPORT: Self = Self(13);
}

/// What stands before a message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Who sent it.
    pub poster: Address,
    /// The block number of L1.
    pub block_number: u64,
    /// Seconds since the epoch.
    pub timestamp: u64,
    /// Its number in the delayed inbox; the sequencer's own messages have none.
    pub request_id: Option<B256>,
    /// The base fee of L1.
    pub base_fee: Option<U256>,
}

/// How much data a batch has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, RlpEncodable)]
pub struct BatchData {
    /// Bytes.
    pub length: u64,
    /// Those that are not zero.
    pub nonzeros: u64,
}

/// A message with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The first after the genesis block has 1.
    pub position: u64,
    /// How many messages of the delayed inbox have been read after it.
    pub delayed_read: u64,
    /// What stands before the content.
    pub header: Header,
    /// The content.
    pub content: Bytes,
    /// For a batch posting report: the gas of the batch.
    pub batch_gas: Option<u64>,
    /// For a batch posting report: the data of the batch.
    pub batch_data: Option<BatchData>,
}

impl Message {
    /// Whether it came through the delayed inbox.
    #[must_use]
    pub fn is_delayed(&self) -> bool {
        self.header.request_id.is_some()
    }

    /// The RLP of the message and of the number of delayed messages.
    #[must_use]
    pub fn rlp(&self) -> Vec<u8> {
        let mut fields = self.inner_rlp();
        self.delayed_read.encode(&mut fields);
        list(&fields)
    }

    fn inner_rlp(&self) -> Vec<u8> {
        let Header { kind, poster, block_number, timestamp, request_id, base_fee } = &self.header;
        let mut header = Vec::new();
        kind.0.encode(&mut header);
        poster.encode(&mut header);
        block_number.encode(&mut header);
        timestamp.encode(&mut header);
        match request_id {
            Some(id) => id.encode(&mut header),
            None => header.push(EMPTY_LIST_CODE),
        }
        base_fee.unwrap_or_default().encode(&mut header);
        let mut fields = list(&header);
        self.content.encode(&mut fields);
        if self.batch_gas.is_some() || self.batch_data.is_some() {
            self.batch_gas.unwrap_or_default().encode(&mut fields);
        }
        if let Some(data) = self.batch_data {
            data.encode(&mut fields);
        }
        list(&fields)
    }

    /// What the feed's `signature` is over.
    #[must_use]
    pub fn digest(&self, chain_id: u64) -> B256 {
        let place = [self.position, chain_id, self.delayed_read].map(u64::to_be_bytes).concat();
        keccak256([FEED, &place, &self.inner_rlp()].concat())
    }

    /// What the feed's `signatureV2` is over. Nothing in it says where one part ends.
    #[must_use]
    pub fn digest_v2(&self, chain_id: u64, hash: Option<B256>, metadata: &[u8]) -> B256 {
        let place = [chain_id, self.position].map(u64::to_be_bytes).concat();
        let hash = hash.as_ref().map_or(&[][..], |hash| &hash[..]);
        keccak256([FEED, &place, hash, metadata, &self.signed_tail()].concat())
    }

    /// The last part of what `signatureV2` is over: from the number of delayed messages on.
    #[must_use]
    pub fn signed_tail(&self) -> Vec<u8> {
        let Header { kind, poster, block_number, timestamp, request_id, base_fee } = &self.header;
        let mut tail = self.delayed_read.to_be_bytes().to_vec();
        tail.push(kind.0);
        tail.extend(poster);
        tail.extend(block_number.to_be_bytes());
        tail.extend(timestamp.to_be_bytes());
        tail.extend(request_id.iter().flatten());
        tail.extend(base_fee.unwrap_or_default().to_be_bytes_trimmed_vec());
        tail.extend(&self.content);
        tail
    }
}

const FEED: &[u8] = b"Arbitrum Nitro Feed:";

/// The RLP of a list of these fields.
pub(super) fn list(fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: fields.len() }.encode(&mut out);
    out.extend(fields);
    out
}
