//! What a message parses to: the transactions of its block, in order, as ArbOS reads them.
//!
//! The block may lack some of them, since ArbOS drops what cannot be executed; it has redeems of
//! retryables between them. A message that ArbOS cannot parse gives an empty block.

use alloy_primitives::{Address, B256, U256, keccak256};
use thiserror::Error;

use super::{
    message::{MAX_CONTENT, Message, MessageHeader, MessageKind},
    signed,
    transaction::{Deposit, Funded, SubmitRetryable},
};

/// How deep batches may lie in batches.
const MAX_DEPTH: usize = 16;

/// Since then heartbeats are errors: 8 August 2022, 16:00 UTC.
const HEARTBEATS_END: u64 = 1_659_974_400;

/// What a message of kind [`MessageKind::L2`] contains: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct L2Kind(u8);

impl L2Kind {
    const UNSIGNED: Self = Self(0);
    const CONTRACT: Self = Self(1);
    const BATCH: Self = Self(3);
    const SIGNED: Self = Self(4);
    const HEARTBEAT: Self = Self(6);
}

/// What a message parses to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Hashes of transactions.
    Transactions(Vec<B256>),
    /// A batch posting report: one internal transaction, whose form depends on ArbOS' version.
    Report(Report),
}

/// What a batch posting report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Time of the batch, seconds since the epoch.
    pub timestamp: U256,
    /// Who posted the batch.
    pub poster: Address,
    /// Hash of the batch.
    pub data_hash: B256,
    /// Number of the batch.
    pub batch: u64,
    /// Base fee of L1.
    pub l1_base_fee: U256,
    /// Gas beside that of the batch.
    pub extra_gas: u64,
}

/// Why ArbOS takes no transaction from a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unparsable {
    /// The content is longer than 256 KiB.
    #[error("the content is too long")]
    TooLong,
    /// The content ends too early.
    #[error("the content is cut")]
    Cut,
    /// An integer needs more than 64 bits.
    #[error("an integer is above 64 bits")]
    Integer,
    /// No message of this kind has transactions.
    #[error("message kind {0}")]
    Kind(u8),
    /// No transaction of L2 is of this kind.
    #[error("L2 message kind {0}")]
    L2Kind(u8),
    /// Batches lie too deep in each other.
    #[error("batches lie more than 16 deep")]
    Depth,
    /// Only the delayed inbox may have such a transaction.
    #[error("a request id is missing")]
    RequestId,
    /// A signed transaction that go-ethereum does not decode.
    #[error("signed transaction: {0}")]
    Signed(signed::Undecodable),
}

/// The transactions of a message.
///
/// # Errors
/// [`Unparsable`]: its block has no transaction of it.
pub fn parse(message: &Message<'_>, chain_id: u64) -> Result<Parsed, Unparsable> {
    let content = message.content.as_ref();
    if content.len() > MAX_CONTENT {
        return Err(Unparsable::TooLong);
    }
    let parser = Parser { header: &message.header, chain_id };
    let mut reader = Reader(content);
    let mut hashes = Vec::new();
    match message.header.kind {
        MessageKind::L2 => parser.l2(reader, message.header.request_id, 0, &mut hashes)?,
        MessageKind::END_OF_BLOCK | MessageKind::ROLLUP_EVENT => {}
        MessageKind::L2_FUNDED_BY_L1 => parser.funded(reader, &mut hashes)?,
        MessageKind::SUBMIT_RETRYABLE => hashes.push(parser.retryable(reader)?),
        MessageKind::ETH_DEPOSIT => hashes.push(parser.deposit(reader)?),
        MessageKind::BATCH_POSTING_REPORT => return Ok(Parsed::Report(Report::read(&mut reader)?)),
        MessageKind(other) => return Err(Unparsable::Kind(other)),
    }
    Ok(Parsed::Transactions(hashes))
}

struct Parser<'a> {
    header: &'a MessageHeader,
    chain_id: u64,
}

impl Parser<'_> {
    fn l2(
        &self,
        mut content: Reader<'_>,
        request_id: Option<B256>,
        depth: usize,
        hashes: &mut Vec<B256>,
    ) -> Result<(), Unparsable> {
        match L2Kind(content.byte()?) {
            kind @ (L2Kind::UNSIGNED | L2Kind::CONTRACT) => {
                hashes.push(self.unsigned(content, kind, request_id)?.hash());
                Ok(())
            }
            L2Kind::BATCH if depth == MAX_DEPTH => Err(Unparsable::Depth),
            L2Kind::BATCH => {
                // What cannot be cut off any more ends the batch, and is no error.
                for index in 0_u64.. {
                    let Some(inner) = content.sized() else { break };
                    let id = request_id.map(|outer| within(outer, index));
                    self.l2(Reader(inner), id, depth + 1, hashes)?;
                }
                Ok(())
            }
            L2Kind::SIGNED => {
                signed::check(content.0).map_err(Unparsable::Signed)?;
                hashes.push(keccak256(content.0));
                Ok(())
            }
            L2Kind::HEARTBEAT if self.header.timestamp < HEARTBEATS_END => Ok(()),
            L2Kind(other) => Err(Unparsable::L2Kind(other)),
        }
    }

    fn unsigned<'a>(
        &self,
        mut content: Reader<'a>,
        kind: L2Kind,
        request_id: Option<B256>,
    ) -> Result<Funded<'a>, Unparsable> {
        let gas = content.integer()?;
        let gas_fee_cap = content.word()?.into();
        let nonce = match kind {
            L2Kind::UNSIGNED => Some(content.integer()?),
            L2Kind::CONTRACT => None,
            L2Kind(other) => return Err(Unparsable::L2Kind(other)),
        };
        let to = content.destination()?;
        let value = content.word()?.into();
        let request_id = match nonce {
            Some(_) => None,
            None => Some(request_id.ok_or(Unparsable::RequestId)?),
        };
        Ok(Funded {
            chain_id: self.chain_id,
            request_id,
            from: self.header.poster,
            nonce,
            gas_fee_cap,
            gas,
            to,
            value,
            data: content.0,
        })
    }

    fn funded(&self, mut content: Reader<'_>, hashes: &mut Vec<B256>) -> Result<(), Unparsable> {
        let kind = L2Kind(content.byte()?);
        let id = self.request_id()?;
        let transaction = self.unsigned(content, kind, Some(within(id, 1)))?;
        let deposit = Deposit {
            chain_id: self.chain_id,
            request_id: within(id, 0),
            from: Address::ZERO,
            to: self.header.poster,
            value: transaction.value,
        };
        hashes.extend([deposit.hash(), transaction.hash()]);
        Ok(())
    }

    fn deposit(&self, mut content: Reader<'_>) -> Result<B256, Unparsable> {
        let to = Address::from(*content.array()?);
        let value = content.word()?.into();
        let request_id = self.request_id()?;
        let from = self.header.poster;
        Ok(Deposit { chain_id: self.chain_id, request_id, from, to, value }.hash())
    }

    fn retryable(&self, mut content: Reader<'_>) -> Result<B256, Unparsable> {
        let retry_to = content.destination()?;
        let retry_value = content.word()?.into();
        let deposit = content.word()?.into();
        let max_submission_fee = content.word()?.into();
        let fee_refund = content.address()?;
        let beneficiary = content.address()?;
        let gas = content.integer()?;
        let gas_fee_cap = content.word()?.into();
        let length = content.integer()?;
        let length = usize::try_from(length).map_err(|_| Unparsable::Integer)?;
        if length > MAX_CONTENT {
            return Err(Unparsable::TooLong);
        }
        // Nitro takes what there is and fills up with zeros; only nothing at all is an error.
        if length > 0 && content.0.is_empty() {
            return Err(Unparsable::Cut);
        }
        let mut data = content.0.get(..length).unwrap_or(content.0).to_vec();
        data.resize(length, 0);
        let transaction = SubmitRetryable {
            chain_id: self.chain_id,
            request_id: self.request_id()?,
            from: self.header.poster,
            l1_base_fee: self.header.l1_base_fee,
            deposit,
            gas_fee_cap,
            gas,
            retry_to,
            retry_value,
            beneficiary,
            max_submission_fee,
            fee_refund,
            data: &data,
        };
        Ok(transaction.hash())
    }

    fn request_id(&self) -> Result<B256, Unparsable> {
        self.header.request_id.ok_or(Unparsable::RequestId)
    }
}

impl Report {
    fn read(content: &mut Reader<'_>) -> Result<Self, Unparsable> {
        Ok(Self {
            timestamp: content.word()?.into(),
            poster: Address::from(*content.array()?),
            data_hash: content.word()?,
            batch: content.integer()?,
            l1_base_fee: content.word()?.into(),
            extra_gas: match content.0 {
                [] => 0,
                _ => u64::from_be_bytes(*content.array()?),
            },
        })
    }
}

/// The request id of a part of a message.
fn within(outer: B256, index: u64) -> B256 {
    keccak256([outer, B256::from(U256::from(index))].concat())
}

/// What is left of the content.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Unparsable> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Unparsable::Cut)?;
        self.0 = rest;
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, Unparsable> {
        let [byte] = *self.array()?;
        Ok(byte)
    }

    fn word(&mut self) -> Result<B256, Unparsable> {
        Ok(B256::from(self.array()?))
    }

    /// A word that must fit 64 bits.
    fn integer(&mut self) -> Result<u64, Unparsable> {
        U256::from_be_bytes(self.word()?.0).try_into().map_err(|_| Unparsable::Integer)
    }

    /// The last 20 bytes of a word; the others are not looked at.
    fn address(&mut self) -> Result<Address, Unparsable> {
        Ok(Address::from_word(self.word()?))
    }

    /// An address; zero means that a contract is created.
    fn destination(&mut self) -> Result<Option<Address>, Unparsable> {
        Ok(Some(self.address()?).filter(|address| !address.is_zero()))
    }

    /// Bytes after their length, if all are there.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u64::from_be_bytes(*self.array().ok()?)).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length).filter(|_| length <= MAX_CONTENT)?;
        self.0 = rest;
        Some(bytes)
    }
}
