//! Other messages under the same `signatureV2`. Nothing in what it is over says where one part
//! ends, so anybody can make them from a message of the public feed.

use alloy_primitives::{Address, B256, Bytes, U256};

use super::{
    feed::FeedMessage,
    message::{Header, Kind, Message},
};

/// Bytes from the number of delayed messages up to the time: 8, 1, 20, 8 and 8.
const FIXED: usize = 45;

/// Where the parts of the signed bytes are taken to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Whether a block hash comes first.
    pub block_hash: bool,
    /// How long the metadata is.
    pub metadata: usize,
    /// Whether a request id follows the time.
    pub request_id: bool,
    /// How long the base fee is.
    pub base_fee: usize,
}

impl Cut {
    /// Where the parts of a message really end.
    #[must_use]
    pub fn of(copy: &FeedMessage) -> Self {
        let header = &copy.message.header;
        Self {
            block_hash: copy.block_hash.is_some(),
            metadata: copy.metadata.len(),
            request_id: header.request_id.is_some(),
            base_fee: header.base_fee.unwrap_or_default().byte_len(),
        }
    }

    /// The message of the same signed bytes with these cuts; none if it would not be signed so.
    #[must_use]
    pub fn apply(self, copy: &FeedMessage) -> Option<FeedMessage> {
        let hash = copy.block_hash.as_ref().map_or(&[][..], |hash| &hash[..]);
        let signed = [hash, &copy.metadata, &copy.message.signed_tail()].concat();
        let mut rest = &signed[..];
        let mut take = |length: usize| {
            let (taken, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(taken)
        };
        let block_hash = if self.block_hash { Some(B256::from_slice(take(32)?)) } else { None };
        let metadata = Bytes::copy_from_slice(take(self.metadata)?);
        let fixed = take(FIXED)?;
        let number = |at: usize| u64::from_be_bytes(fixed[at..at + 8].try_into().unwrap());
        let request_id = if self.request_id { Some(B256::from_slice(take(32)?)) } else { None };
        let fee = take(self.base_fee)?;
        // A base fee is signed without leading zeros.
        if fee.first() == Some(&0) || fee.len() > 32 {
            return None;
        }
        let header = Header {
            kind: Kind(fixed[8]),
            poster: Address::from_slice(&fixed[9..29]),
            block_number: number(29),
            timestamp: number(37),
            request_id,
            base_fee: Some(U256::from_be_slice(fee)),
        };
        let message = Message {
            position: copy.message.position,
            delayed_read: number(0),
            header,
            content: Bytes::copy_from_slice(rest),
            batch_gas: None,
            batch_data: None,
        };
        Some(FeedMessage { message, block_hash, metadata, ..copy.clone() })
    }
}

/// The first bytes of the content become the base fee.
#[must_use]
pub fn into_base_fee(copy: &FeedMessage, length: usize) -> Option<FeedMessage> {
    let cut = Cut::of(copy);
    Cut { base_fee: cut.base_fee + length, ..cut }.apply(copy)
}

/// The first 32 bytes of the content become the request id.
#[must_use]
pub fn into_request_id(copy: &FeedMessage) -> Option<FeedMessage> {
    let cut = Cut::of(copy);
    Cut { request_id: true, ..cut }.apply(copy).filter(|_| !cut.request_id)
}

/// The first 32 bytes of the content become the request id, and the next ones the base fee.
#[must_use]
pub fn into_both(copy: &FeedMessage, length: usize) -> Option<FeedMessage> {
    let cut = Cut::of(copy);
    let base_fee = cut.base_fee + length;
    Cut { request_id: true, base_fee, ..cut }.apply(copy).filter(|_| !cut.request_id)
}

/// The hash of the block becomes the beginning of the metadata.
#[must_use]
pub fn hash_into_metadata(copy: &FeedMessage) -> Option<FeedMessage> {
    let cut = Cut::of(copy);
    Cut { block_hash: false, metadata: cut.metadata + 32, ..cut }.apply(copy)
}

/// The beginning of the metadata becomes the hash of the block.
#[must_use]
pub fn metadata_into_hash(copy: &FeedMessage) -> Option<FeedMessage> {
    let cut = Cut::of(copy);
    Cut { block_hash: true, metadata: cut.metadata.checked_sub(32)?, ..cut }.apply(copy)
}

/// What is signed first, whatever it is, becomes the hash of the block.
#[must_use]
pub fn signed_into_hash(copy: &FeedMessage) -> Option<FeedMessage> {
    Cut { block_hash: true, metadata: 0, ..Cut::of(copy) }.apply(copy)
}

/// All that stands before another message, which a user has written into the content, becomes
/// metadata: what is left is that message, in a form that the user has chosen.
#[must_use]
pub fn written(copy: &FeedMessage, other: &Message) -> Option<FeedMessage> {
    let other_bytes = other.signed_tail();
    let mut places = copy.message.content.windows(other_bytes.len());
    let at = places.position(|bytes| bytes == other_bytes)?;
    let cut = Cut::of(copy);
    let request_id = if cut.request_id { 32 } else { 0 };
    Cut {
        metadata: cut.metadata + FIXED + request_id + cut.base_fee + at,
        request_id: other.is_delayed(),
        base_fee: other.header.base_fee.unwrap_or_default().byte_len(),
        ..cut
    }
    .apply(copy)
}

/// The metadata gets longer or shorter, so that everything behind it moves: the number of delayed
/// messages, kind, poster, block number, time.
#[must_use]
pub fn shifted(copy: &FeedMessage, by: isize) -> Option<FeedMessage> {
    let cut = Cut::of(copy);
    Cut { metadata: cut.metadata.checked_add_signed(by)?, ..cut }.apply(copy)
}
