//! The body of a payload: the RLP of a batch.

use alloy_primitives::{Address, B256, keccak256};
use alloy_rlp::{Decodable, Header};

use super::{Deposit, decode_l1_origin};
use crate::{eth::BlockId, rollup::Rejected};

/// A decoded batch, borrowing from the payload.
///
/// `[header, batch, info deposit]`, or since March 2026 `[header, batch, info deposit, address]`,
/// where the address has no meaning. The header is kept as its hash, so fields added by a later
/// fork do no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpBatch<'a> {
    /// Block number.
    pub number: u64,
    /// Block hash: keccak256 of the header's RLP.
    pub hash: B256,
    /// Hash of the parent block.
    pub parent_hash: B256,
    /// Block time, seconds since the epoch.
    pub timestamp: u64,
    /// The L1 block that the block is built on.
    pub l1_origin: BlockId,
    /// The transactions that are not deposits.
    pub transactions: Transactions<'a>,
    /// The L1-info deposit in network encoding.
    pub info_deposit: &'a [u8],
}

/// The transactions of a batch, in order: a view of the payload, since a short payload may list
/// very many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transactions<'a> {
    list: &'a [u8],
    count: usize,
}

impl<'a> Transactions<'a> {
    /// Reads the content of an RLP list of strings, none of them empty.
    fn decode(list: &'a [u8]) -> Result<Self, Rejected> {
        let (mut rest, mut count) = (list, 0);
        while !rest.is_empty() {
            if bytes(&mut rest, "transaction")?.is_empty() {
                return Err(Rejected::Structure("transaction: it is empty".into()));
            }
            count += 1;
        }
        Ok(Self { list, count })
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each in network encoding.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.list;
        std::iter::from_fn(move || bytes(&mut rest, "transaction").ok())
    }
}

/// The fields of a header that are read.
struct BlockHeader {
    number: u64,
    hash: B256,
    parent_hash: B256,
    timestamp: u64,
}

/// The form of a header field in RLP.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// A string of exactly this many bytes.
    Fixed(usize),
    /// An integer of at most 64 bits, without leading zeros.
    U64,
    /// An integer of any length, without leading zeros.
    Integer,
    /// A string of any length.
    Text,
}

/// The fields of an Ethereum header in their order, up to Prague (go-ethereum,
/// `core/types/block.go`).
/// Fields that a later fork appends may have any form.
const HEADER_FIELDS: [(&str, Form); 21] = [
    ("parent hash", Form::Fixed(32)),
    ("uncle hash", Form::Fixed(32)),
    ("beneficiary", Form::Fixed(20)),
    ("state root", Form::Fixed(32)),
    ("transactions root", Form::Fixed(32)),
    ("receipts root", Form::Fixed(32)),
    ("logs bloom", Form::Fixed(256)),
    ("difficulty", Form::Integer),
    ("number", Form::U64),
    ("gas limit", Form::U64),
    ("gas used", Form::U64),
    ("timestamp", Form::U64),
    ("extra data", Form::Text),
    ("mix hash", Form::Fixed(32)),
    ("nonce", Form::Fixed(8)),
    ("base fee", Form::Integer),
    ("withdrawals root", Form::Fixed(32)),
    ("blob gas used", Form::U64),
    ("excess blob gas", Form::U64),
    ("parent beacon root", Form::Fixed(32)),
    ("requests hash", Form::Fixed(32)),
];
/// A header has at least the fields up to the nonce; forks append optional ones.
const MIN_HEADER_FIELDS: usize = 15;
const HEADER_PARENT_HASH: usize = 0;
const HEADER_NUMBER: usize = 8;
const HEADER_TIMESTAMP: usize = 11;

impl Form {
    /// Whether a string can be a field of this form. Every Ethereum client decodes headers this
    /// strictly, so no node can have a block whose header fails here.
    fn admits(self, value: &[u8]) -> bool {
        let minimal = value.first() != Some(&0);
        match self {
            Self::Fixed(length) => value.len() == length,
            Self::U64 => minimal && value.len() <= size_of::<u64>(),
            Self::Integer => minimal,
            Self::Text => true,
        }
    }
}

impl<'a> OpBatch<'a> {
    /// Decodes what the signature covers, and rejects inconsistencies: parent hash and timestamp
    /// against the header, epoch against the L1-info deposit. The transactions are only compared
    /// with a block: user deposits are in the block but not in the batch.
    ///
    /// # Errors
    /// [`Rejected::Structure`] or [`Rejected::Inconsistent`].
    pub fn decode(body: &'a [u8]) -> Result<Self, Rejected> {
        let mut rest = body;
        let mut fields = list(&mut rest, "batch")?;
        end(rest, "the batch")?;
        let header = BlockHeader::decode(raw_item(&mut fields, "header")?)?;
        let mut singular = list(&mut fields, "singular batch")?;
        let info_deposit = bytes(&mut fields, "L1-info deposit")?;
        if !fields.is_empty() {
            let unused: Result<Address, _> = Decodable::decode(&mut fields);
            unused.map_err(|error| structure("fourth field", error))?;
        }
        end(fields, "the fourth field")?;

        let parent_hash: B256 = item(&mut singular, "parent hash")?;
        let epoch_number: u64 = item(&mut singular, "epoch number")?;
        let epoch_hash: B256 = item(&mut singular, "epoch hash")?;
        let timestamp: u64 = item(&mut singular, "timestamp")?;
        let transactions = Transactions::decode(list(&mut singular, "transactions")?)?;
        end(singular, "the singular batch")?;

        let of_deposit = decode_l1_origin(Deposit::decode(info_deposit)?.data)
            .map_err(|error| Rejected::Structure(format!("L1-info deposit: {error}")))?;
        let l1_origin = BlockId { number: epoch_number, hash: epoch_hash };
        agree("parent hash", parent_hash, "header", header.parent_hash)?;
        agree("timestamp", timestamp, "header", header.timestamp)?;
        agree("epoch", l1_origin, "L1-info deposit", of_deposit)?;
        Ok(Self {
            number: header.number,
            hash: header.hash,
            parent_hash,
            timestamp,
            l1_origin,
            transactions,
            info_deposit,
        })
    }
}

impl BlockHeader {
    fn decode(raw: &[u8]) -> Result<Self, Rejected> {
        let mut rest = raw;
        let mut fields = list(&mut rest, "header")?;
        let (mut number, mut parent_hash, mut timestamp) = (None, None, None);
        let mut count = 0;
        while !fields.is_empty() {
            if let Some((name, form)) = HEADER_FIELDS.get(count) {
                let value = bytes(&mut { fields }, name)?;
                if !form.admits(value) {
                    let problem = format!("header {name}: no header has such a field");
                    return Err(Rejected::Structure(problem));
                }
            }
            match count {
                HEADER_PARENT_HASH => parent_hash = Some(item(&mut fields, "header parent hash")?),
                HEADER_NUMBER => number = Some(item(&mut fields, "header number")?),
                HEADER_TIMESTAMP => timestamp = Some(item(&mut fields, "header timestamp")?),
                _ => _ = raw_item(&mut fields, "header field")?,
            }
            count += 1;
        }
        match (number, parent_hash, timestamp) {
            (Some(number), Some(parent_hash), Some(timestamp)) if count >= MIN_HEADER_FIELDS => {
                Ok(Self { number, hash: keccak256(raw), parent_hash, timestamp })
            }
            _ => Err(Rejected::Structure(format!(
                "header: {count} fields are fewer than {MIN_HEADER_FIELDS}"
            ))),
        }
    }
}

fn structure(what: &str, error: impl std::fmt::Display) -> Rejected {
    Rejected::Structure(format!("{what}: {error}"))
}

fn item<T: Decodable>(input: &mut &[u8], what: &str) -> Result<T, Rejected> {
    T::decode(input).map_err(|error| structure(what, error))
}

fn list<'a>(input: &mut &'a [u8], what: &str) -> Result<&'a [u8], Rejected> {
    Header::decode_bytes(input, true).map_err(|error| structure(what, error))
}

fn bytes<'a>(input: &mut &'a [u8], what: &str) -> Result<&'a [u8], Rejected> {
    Header::decode_bytes(input, false).map_err(|error| structure(what, error))
}

/// The next item with its own RLP header.
fn raw_item<'a>(input: &mut &'a [u8], what: &str) -> Result<&'a [u8], Rejected> {
    let start = *input;
    let header = Header::decode(input).map_err(|error| structure(what, error))?;
    *input = input
        .get(header.payload_length..)
        .ok_or_else(|| structure(what, alloy_rlp::Error::InputTooShort))?;
    start
        .get(..start.len().saturating_sub(input.len()))
        .ok_or_else(|| structure(what, alloy_rlp::Error::InputTooShort))
}

fn end(rest: &[u8], what: &str) -> Result<(), Rejected> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Rejected::Structure(format!("{} bytes follow {what}", rest.len())))
    }
}

fn agree<T: PartialEq + std::fmt::Display>(
    what: &str,
    batch: T,
    other: &str,
    theirs: T,
) -> Result<(), Rejected> {
    if batch == theirs {
        Ok(())
    } else {
        let problem = format!("{what}: batch {batch}, {other} {theirs}");
        Err(Rejected::Inconsistent(problem.into()))
    }
}
