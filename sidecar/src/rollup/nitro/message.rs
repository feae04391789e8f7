//! A message of the sequencer's feed, the input of one L2 block, and its RLP.

use std::borrow::Cow;

use alloy_primitives::{Address, B256, U256, address};
use alloy_rlp::{BufMut, Decodable, EMPTY_LIST_CODE, Encodable, Header as RlpHeader};

use crate::rollup::Rejected;

/// The poster of messages that the sequencer made itself.
pub const SEQUENCER: Address = address!("a4b000000000000000000073657175656e636572");

/// The longest content of a message that Nitro reads.
pub(super) const MAX_CONTENT: usize = 256 * 1024;

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageKind(pub u8);

impl MessageKind {
    /// Transactions of L2.
    pub const L2: Self = Self(3);
    /// The end of a block: no transaction.
    pub const END_OF_BLOCK: Self = Self(6);
    /// A deposit and a transaction that it funds.
    pub const L2_FUNDED_BY_L1: Self = Self(7);
    /// An event of the rollup: no transaction.
    pub const ROLLUP_EVENT: Self = Self(8);
    /// A retryable ticket.
    pub const SUBMIT_RETRYABLE: Self = Self(9);
    /// A deposit of ether.
    pub const ETH_DEPOSIT: Self = Self(12);
    /// What a batch cost its poster.
    pub const BATCH_POSTING_REPORT: Self = Self(13);
}

/// A message. Its position is its block's number, counted from the genesis block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where it stands in the feed.
    pub position: u64,
    /// How many messages of the delayed inbox were read, with this one.
    pub delayed_messages_read: u64,
    /// Its header.
    pub header: MessageHeader,
    /// Its content; empty where a V0 poster left out what the delayed inbox has.
    pub content: Cow<'a, [u8]>,
    /// In a batch posting report: the gas of the batch.
    pub batch_gas: Option<u64>,
    /// In a batch posting report: the bytes of the batch.
    pub batch_data: Option<BatchData>,
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHeader {
    /// Its kind.
    pub kind: MessageKind,
    /// Who posted it: [`SEQUENCER`], or the sender on the parent chain.
    pub poster: Address,
    /// Number of the L1 block.
    pub block_number: u64,
    /// Seconds since the epoch.
    pub timestamp: u64,
    /// Of a delayed message: its index in the delayed inbox.
    pub request_id: Option<B256>,
    /// Of a delayed message: the base fee of L1. Absent is zero.
    pub l1_base_fee: U256,
}

/// The bytes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchData {
    /// How many.
    pub length: u64,
    /// How many of them are not zero.
    pub nonzeros: u64,
}

/// Where a message comes from, as its form says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The sequencer made it: the count of delayed messages is its parent's.
    Sequencer,
    /// The delayed inbox: the count is its parent's and one more.
    DelayedInbox,
}

impl Message<'_> {
    /// Where the message comes from.
    ///
    /// # Errors
    /// As [`MessageHeader::origin`].
    pub fn origin(&self) -> Result<Origin, Rejected> {
        self.header.origin(self.delayed_messages_read)
    }

    /// Writes what the feed's first signature covers: the message without its position and count.
    pub fn encode_incoming(&self, out: &mut dyn BufMut) {
        let header = self.header.fields_length();
        let header_length = header + RlpHeader { list: true, payload_length: header }.length();
        let stats = self.batch_data.map(|BatchData { length, nonzeros }| [length, nonzeros]);
        let gas = self.batch_gas.or(stats.map(|_| 0));
        let length = header_length
            + self.content.as_ref().length()
            + gas.map_or(0, |gas| gas.length())
            + stats.map_or(0, |stats| list_length(&stats));
        RlpHeader { list: true, payload_length: length }.encode(out);
        RlpHeader { list: true, payload_length: header }.encode(out);
        self.header.encode_fields(out);
        self.content.as_ref().encode(out);
        if let Some(gas) = gas {
            gas.encode(out);
        }
        if let Some(stats) = stats {
            alloy_rlp::encode_list::<_, u64>(&stats, out);
        }
    }

    /// Reads `[message, count of delayed messages]`, as a V0 payload has it.
    ///
    /// # Errors
    /// [`Rejected::Structure`].
    pub fn decode(position: u64, rlp: &[u8]) -> Result<Message<'_>, Rejected> {
        Self::read(position, rlp).map_err(|error| Rejected::Structure(format!("message: {error}")))
    }

    fn read(position: u64, mut rlp: &[u8]) -> Result<Message<'_>, alloy_rlp::Error> {
        let mut fields = list(&mut rlp)?;
        end(rlp)?;
        let mut incoming = list(&mut fields)?;
        let delayed_messages_read = u64::decode(&mut fields)?;
        end(fields)?;
        let header = MessageHeader::decode(list(&mut incoming)?)?;
        let content = RlpHeader::decode_bytes(&mut incoming, false)?;
        let batch_gas = match incoming {
            [] => None,
            _ => Some(u64::decode(&mut incoming)?),
        };
        let batch_data = match incoming {
            [] => None,
            _ => Some(BatchData::decode(list(&mut incoming)?)?),
        };
        end(incoming)?;
        let content = Cow::Borrowed(content);
        Ok(Message { position, delayed_messages_read, header, content, batch_gas, batch_data })
    }
}

impl MessageHeader {
    /// Where the message comes from, with so many messages of the delayed inbox read. The form is
    /// exact: under `signatureV2` bytes of the content can be moved into the request id or the base
    /// fee without another signature.
    ///
    /// # Errors
    /// [`Rejected::Inconsistent`] if the sequencer makes no such message.
    pub fn origin(&self, delayed_messages_read: u64) -> Result<Origin, Rejected> {
        let &Self { kind, poster, request_id, l1_base_fee, .. } = self;
        let index = delayed_messages_read.checked_sub(1).map(|index| B256::from(U256::from(index)));
        // Others can post thousands of such: what is wrong is said without what it is made of.
        let refused = |problem| Err(Rejected::Inconsistent(Cow::Borrowed(problem)));
        match request_id {
            Some(id) if Some(id) == index => Ok(Origin::DelayedInbox),
            Some(_) => {
                refused("the request id is not the index of the last delayed message that was read")
            }
            None if kind != MessageKind::L2 => refused("no request id, but the kind is not 3"),
            None if poster != SEQUENCER => {
                refused("no request id, but the poster is not the sequencer")
            }
            None if !l1_base_fee.is_zero() => refused("no request id, but a base fee"),
            None => Ok(Origin::Sequencer),
        }
    }

    fn decode(mut fields: &[u8]) -> Result<Self, alloy_rlp::Error> {
        let header = Self {
            kind: MessageKind(u8::decode(&mut fields)?),
            poster: Address::decode(&mut fields)?,
            block_number: u64::decode(&mut fields)?,
            timestamp: u64::decode(&mut fields)?,
            request_id: request_id(&mut fields)?,
            l1_base_fee: U256::decode(&mut fields)?,
        };
        end(fields)?;
        Ok(header)
    }

    fn fields_length(&self) -> usize {
        self.kind.0.length()
            + self.poster.length()
            + self.block_number.length()
            + self.timestamp.length()
            + self.request_id.map_or(1, |id| id.length())
            + self.l1_base_fee.length()
    }

    fn encode_fields(&self, out: &mut dyn BufMut) {
        self.kind.0.encode(out);
        self.poster.encode(out);
        self.block_number.encode(out);
        self.timestamp.encode(out);
        match self.request_id {
            Some(id) => id.encode(out),
            None => out.put_u8(EMPTY_LIST_CODE),
        }
        self.l1_base_fee.encode(out);
    }
}

impl BatchData {
    fn decode(mut fields: &[u8]) -> Result<Self, alloy_rlp::Error> {
        let data = Self { length: u64::decode(&mut fields)?, nonzeros: u64::decode(&mut fields)? };
        end(fields)?;
        Ok(data)
    }
}

/// A string of 32 bytes, or the empty list for none.
fn request_id(fields: &mut &[u8]) -> Result<Option<B256>, alloy_rlp::Error> {
    if let Some((&EMPTY_LIST_CODE, rest)) = fields.split_first() {
        *fields = rest;
        return Ok(None);
    }
    B256::decode(fields).map(Some)
}

fn list<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], alloy_rlp::Error> {
    RlpHeader::decode_bytes(input, true)
}

fn list_length(numbers: &[u64]) -> usize {
    let payload_length = numbers.iter().map(Encodable::length).sum();
    payload_length + RlpHeader { list: true, payload_length }.length()
}

fn end(rest: &[u8]) -> Result<(), alloy_rlp::Error> {
    if rest.is_empty() { Ok(()) } else { Err(alloy_rlp::Error::UnexpectedLength) }
}
