//! A message as Nitro's feed publishes it, in JSON, and what its signatures cover.

use std::{borrow::Cow, fmt::Display};

use alloy_primitives::{Address, B256, U256, keccak256};
use espresso_proofs::decode_base64;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;

use super::message::{BatchData, Message, MessageHeader, MessageKind, Origin};
use crate::rollup::{Rejected, SIGNATURE_LENGTH};

/// What every signature of the feed covers first.
const DOMAIN: &[u8] = b"Arbitrum Nitro Feed:";

/// A message of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedMessage {
    /// The message.
    pub message: Message<'static>,
    /// Hash of its block, as the sequencer made it.
    pub block_hash: Option<B256>,
    /// Which transactions of the block were timeboosted.
    pub block_metadata: Vec<u8>,
    /// Over [`Self::signed_digest`].
    pub signature: Vec<u8>,
    /// Over [`Self::signed_digest_v2`].
    pub signature_v2: Vec<u8>,
}

impl FeedMessage {
    /// Reads the JSON. Members that are not known are skipped; one that is there twice is refused.
    ///
    /// # Errors
    /// [`Rejected::Structure`].
    pub fn read(json: &[u8]) -> Result<Self, Rejected> {
        Encoded::read(json)?.decode()
    }

    /// What `signature` is over, as Nitro signs up to 3.9. It covers neither the hash of the block
    /// nor the metadata.
    pub(super) fn signed(&self, chain_id: u64) -> Vec<u8> {
        let Message { position, delayed_messages_read, .. } = self.message;
        let mut signed = DOMAIN.to_vec();
        for number in [position, chain_id, delayed_messages_read] {
            signed.extend(number.to_be_bytes());
        }
        self.message.encode_incoming(&mut signed);
        signed
    }

    /// What `signatureV2` is over, as Nitro signs since 3.10. Parts of different lengths stand
    /// beside each other without their lengths, so several messages are signed by the same bytes.
    pub(super) fn signed_v2(&self, chain_id: u64) -> Vec<u8> {
        let Message { position, delayed_messages_read, header, content, .. } = &self.message;
        let mut signed = DOMAIN.to_vec();
        signed.extend(chain_id.to_be_bytes());
        signed.extend(position.to_be_bytes());
        if let Some(hash) = self.block_hash {
            signed.extend(hash);
        }
        signed.extend(&self.block_metadata);
        signed.extend(delayed_messages_read.to_be_bytes());
        signed.push(header.kind.0);
        signed.extend(header.poster);
        signed.extend(header.block_number.to_be_bytes());
        signed.extend(header.timestamp.to_be_bytes());
        if let Some(id) = header.request_id {
            signed.extend(id);
        }
        signed.extend(header.l1_base_fee.to_be_bytes_trimmed_vec());
        signed.extend(content.as_ref());
        signed
    }

    /// Keccak-256 of what `signature` is over.
    #[must_use]
    pub fn signed_digest(&self, chain_id: u64) -> B256 {
        keccak256(self.signed(chain_id))
    }

    /// Keccak-256 of what `signatureV2` is over.
    #[must_use]
    pub fn signed_digest_v2(&self, chain_id: u64) -> B256 {
        keccak256(self.signed_v2(chain_id))
    }
}

/// A message as its JSON has it: of the bytes in it none are decoded yet.
pub(super) struct Encoded<'a>(Feed<'a>);

impl<'a> Encoded<'a> {
    /// Reads the JSON.
    ///
    /// # Errors
    /// [`Rejected::Structure`].
    pub(super) fn read(json: &'a [u8]) -> Result<Self, Rejected> {
        let text = str::from_utf8(json).map_err(structure)?;
        serde_json::from_str(text).map(Self).map_err(structure)
    }

    /// Where the message stands in the feed.
    pub(super) const fn position(&self) -> u64 {
        self.0.sequence_number
    }

    /// Where the message comes from.
    ///
    /// # Errors
    /// As [`Message::origin`].
    pub(super) fn origin(&self) -> Result<Origin, Rejected> {
        let Metadata { message, delayed_messages_read } = &self.0.message;
        message.header.read().origin(*delayed_messages_read)
    }

    /// The message.
    ///
    /// # Errors
    /// [`Rejected::Structure`].
    pub(super) fn decode(self) -> Result<FeedMessage, Rejected> {
        let Self(feed) = self;
        let Metadata { message: incoming, delayed_messages_read } = feed.message;
        let message = Message {
            position: feed.sequence_number,
            delayed_messages_read,
            header: incoming.header.read(),
            content: Cow::Owned(bytes(incoming.l2_msg)?),
            batch_gas: incoming.batch_gas_cost,
            batch_data: incoming
                .batch_data_tokens
                .map(|Tokens { length, nonzeros }| BatchData { length, nonzeros }),
        };
        Ok(FeedMessage {
            message,
            block_hash: feed.block_hash,
            block_metadata: bytes(feed.block_metadata)?,
            signature: signature(feed.signature)?,
            signature_v2: signature(feed.signature_v2)?,
        })
    }
}

/// The digest that was computed last: copies under one signature are signed by the same bytes.
#[derive(Debug, Default)]
pub(super) struct LastDigest {
    bytes: Vec<u8>,
    digest: B256,
}

impl LastDigest {
    /// Keccak-256 of these bytes.
    pub(super) fn of(&mut self, bytes: Vec<u8>) -> B256 {
        if self.bytes.is_empty() || self.bytes != bytes {
            (self.digest, self.bytes) = (keccak256(&bytes), bytes);
        }
        self.digest
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feed<'a> {
    sequence_number: u64,
    #[serde(borrow)]
    message: Metadata<'a>,
    #[serde(borrow)]
    signature: Option<Base64<'a>>,
    #[serde(borrow)]
    signature_v2: Option<Base64<'a>>,
    #[serde(borrow)]
    block_metadata: Option<Base64<'a>>,
    block_hash: Option<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    message: Incoming<'a>,
    delayed_messages_read: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming<'a> {
    header: IncomingHeader,
    #[serde(borrow, deserialize_with = "required")]
    l2_msg: Option<Base64<'a>>,
    batch_gas_cost: Option<u64>,
    batch_data_tokens: Option<Tokens>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IncomingHeader {
    kind: u8,
    sender: Address,
    block_number: u64,
    timestamp: u64,
    request_id: Option<B256>,
    #[serde(default, deserialize_with = "base_fee", rename = "baseFeeL1")]
    base_fee_l1: U256,
}

#[derive(Deserialize)]
struct Tokens {
    length: u64,
    nonzeros: u64,
}

/// A text in standard base64 with its padding.
#[derive(Deserialize)]
struct Base64<'a>(#[serde(borrow)] Cow<'a, str>);

impl IncomingHeader {
    const fn read(&self) -> MessageHeader {
        MessageHeader {
            kind: MessageKind(self.kind),
            poster: self.sender,
            block_number: self.block_number,
            timestamp: self.timestamp,
            request_id: self.request_id,
            l1_base_fee: self.base_fee_l1,
        }
    }
}

fn structure(problem: impl Display) -> Rejected {
    Rejected::Structure(format!("feed message: {problem}"))
}

/// A member that may be null, but not absent.
fn required<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    reader: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(reader)
}

/// An integer in decimal digits, or null for none. JSON readers for numbers end at 64 bits.
fn base_fee<'de, D: Deserializer<'de>>(reader: D) -> Result<U256, D::Error> {
    let digits = <&RawValue>::deserialize(reader)?.get();
    if digits == "null" {
        return Ok(U256::ZERO);
    }
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(D::Error::custom("the base fee is not an integer"));
    }
    U256::from_str_radix(digits, 10).map_err(|_| D::Error::custom("the base fee is above 256 bits"))
}

/// What a text stands for; nothing if there is none.
fn bytes(text: Option<Base64<'_>>) -> Result<Vec<u8>, Rejected> {
    text.map_or_else(|| Ok(Vec::new()), |Base64(text)| decode_base64(&text).map_err(structure))
}

/// The bytes of a signature; nothing if they have another length.
fn signature(text: Option<Base64<'_>>) -> Result<Vec<u8>, Rejected> {
    let bytes = bytes(text)?;
    Ok(if bytes.len() == SIGNATURE_LENGTH { bytes } else { Vec::new() })
}
