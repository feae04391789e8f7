//! What is kept of a posted message until its block is confirmed. One message may be posted often,
//! and in several copies under one signature: no copy is told from another before the node's block
//! is compared with all of them.

use alloy_primitives::{Address, B256, Keccak256, U256, keccak256};

use super::{BatchData, MessageHeader, Origin, Parsed, Posted, Report, Scheme, Signed, parse};
use crate::{
    head::HeadBlock,
    rollup::{self, Batch},
};

/// What the rules use of a copy.
#[derive(Debug, Clone, Copy, Eq)]
pub struct Facts {
    /// The number of its block.
    pub number: u64,
    /// The hash of its block, if that is signed.
    pub block_hash: Option<B256>,
    /// The final L1 block that the header of its HotShot block names.
    pub l1_block: u64,
}

/// Where a copy was posted does not tell it from another.
impl PartialEq for Facts {
    fn eq(&self, other: &Self) -> bool {
        (self.number, self.block_hash) == (other.number, other.block_hash)
    }
}

impl rollup::Facts for Facts {
    fn number(&self) -> u64 {
        self.number
    }

    fn hash(&self) -> Option<B256> {
        self.block_hash
    }

    fn names(&self) -> Option<HeadBlock> {
        None
    }

    fn l1_block(&self) -> u64 {
        self.l1_block
    }
}

/// What only the comparison uses of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// The message: position, delayed count, header and content. Metadata and block hash are not
    /// part of it.
    pub message: B256,
    /// What the signatures of the feed are over, by scheme. One signature may cover several copies.
    /// A V0 payload's signature covers many messages, and tells nothing of any.
    pub digests: [Option<B256>; 2],
    /// Where the message comes from.
    pub origin: Origin,
    /// How many messages of the delayed inbox were read, with this one.
    pub delayed_messages_read: u64,
    /// Its header.
    pub header: MessageHeader,
    /// Keccak-256 of its content; none if a V0 poster left out what the delayed inbox has.
    pub content: Option<B256>,
    /// In a batch posting report: the gas of the batch.
    pub batch_gas: Option<u64>,
    /// In a batch posting report: the bytes of the batch.
    pub batch_data: Option<BatchData>,
    /// How long the metadata are, if they are signed.
    pub metadata: usize,
    /// What it parses to.
    pub transactions: Transactions,
}

/// What a message parses to, in one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transactions {
    /// So many transactions, and keccak-256 over their hashes, in order.
    Listed { count: usize, digest: B256 },
    /// A batch posting report.
    Report(Report),
}

impl Transactions {
    /// What a message comes to.
    pub(super) fn of(parsed: &Parsed) -> Self {
        match parsed {
            Parsed::Transactions(hashes) => {
                Self::Listed { count: hashes.len(), digest: digest(hashes.iter()) }
            }
            Parsed::Report(report) => Self::Report(*report),
        }
    }
}

/// Keccak-256 over hashes of transactions, in order.
pub(super) fn digest<'a>(hashes: impl Iterator<Item = &'a B256>) -> B256 {
    let mut hasher = Keccak256::new();
    hashes.for_each(|hash| hasher.update(hash));
    hasher.finalize()
}

/// What a message parses to; nothing if ArbOS cannot parse it.
pub(super) fn parsed(message: &super::Message<'_>, chain_id: u64) -> Parsed {
    parse(message, chain_id).unwrap_or_else(|_| Parsed::Transactions(Vec::new()))
}

/// The hashes of transactions that a message parses to.
pub(super) fn hashes(parsed: Parsed) -> Vec<B256> {
    match parsed {
        Parsed::Transactions(hashes) => hashes,
        Parsed::Report(_) => Vec::new(),
    }
}

impl Copy {
    /// Whether `signatureV2` covers it, and with it the hash of its block if it names one.
    #[must_use]
    pub const fn is_v2(&self) -> bool {
        self.digests[1].is_some()
    }

    /// Whether the metadata may hide a block's hash: a signature covers the two without a border.
    #[must_use]
    pub const fn may_hide_a_hash(&self, facts: &Facts) -> bool {
        self.is_v2() && facts.block_hash.is_none() && self.metadata >= B256::len_bytes()
    }

    /// How many bytes stand before the count of delayed messages in what `signatureV2` is over:
    /// a twist has moved more in front of it. Nothing can be moved under another signature.
    #[must_use]
    pub const fn prefix(&self, facts: &Facts) -> usize {
        let hash = if facts.block_hash.is_some() { B256::len_bytes() } else { 0 };
        hash.saturating_add(self.metadata)
    }

    /// Whether two copies for one number have the same message. A V0 poster leaves out what the
    /// delayed inbox has.
    #[must_use]
    pub fn is_same_message(&self, other: &Self) -> bool {
        let is_omitted = self.content.is_none() || other.content.is_none();
        let heading = |copy: &Self| (copy.origin, copy.delayed_messages_read, copy.header);
        self.message == other.message || is_omitted && heading(self) == heading(other)
    }

    /// Whether two copies for one number are of one group: they have the same message, or are
    /// covered by the same signature.
    #[must_use]
    pub fn is_of_one_group(&self, other: &Self) -> bool {
        let is_shared = |digest: &Option<B256>| digest.is_some() && other.digests.contains(digest);
        self.is_same_message(other) || self.digests.iter().any(is_shared)
    }
}

/// A posted message as a batch, by those of its signers that `counts` lets pass; none if there is
/// none.
pub(super) fn batch_of(
    posted: &Posted<'_>,
    number: u64,
    l1_block: u64,
    chain_id: u64,
    counts: impl Fn(Address) -> bool,
) -> Option<Batch<Facts, Copy>> {
    let signatures = posted.signatures.iter().filter(|signed| counts(signed.signer));
    let digest_of = |wanted| {
        let mut signatures = signatures.clone();
        signatures.find(|Signed { scheme, .. }| *scheme == wanted).map(|signed| signed.digest)
    };
    let signer = signatures.clone().next()?.signer;
    let digests = [digest_of(Scheme::Signature), digest_of(Scheme::SignatureV2)];
    let message = &posted.message;
    let is_omitted = message.content.is_empty()
        && posted.origin == Origin::DelayedInbox
        && digests == [None, None];
    // What stands beside a batch posting report is not covered by `signatureV2`.
    let is_all_signed = digests[1].is_none() || digests[0].is_some();
    let content = Copy {
        message: identity(message),
        digests,
        origin: posted.origin,
        delayed_messages_read: message.delayed_messages_read,
        header: message.header,
        content: (!is_omitted).then(|| keccak256(&message.content)),
        batch_gas: message.batch_gas.filter(|_| is_all_signed),
        batch_data: message.batch_data.filter(|_| is_all_signed),
        metadata: digests[1].map_or(0, |_| posted.metadata),
        transactions: Transactions::of(&parsed(message, chain_id)),
    };
    let block_hash = posted.block_hash.filter(|_| content.is_v2());
    Some(Batch { signer, facts: Facts { number, block_hash, l1_block }, content })
}

/// Two messages are one if this is equal. What stands beside a batch posting report is no part of
/// it.
fn identity(message: &super::Message<'_>) -> B256 {
    let MessageHeader { kind, poster, block_number, timestamp, request_id, l1_base_fee } =
        message.header;
    let mut hasher = Keccak256::new();
    for number in [message.position, message.delayed_messages_read, block_number, timestamp] {
        hasher.update(number.to_be_bytes());
    }
    hasher.update([kind.0, u8::from(request_id.is_some())]);
    hasher.update(poster);
    hasher.update(request_id.unwrap_or_default());
    hasher.update(l1_base_fee.to_be_bytes::<{ U256::BYTES }>());
    hasher.update(&message.content);
    hasher.finalize()
}
