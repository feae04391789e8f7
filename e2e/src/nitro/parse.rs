//! What ArbOS reads in a message: its transactions.

use alloy_primitives::{Address, B256, TxKind, U256, keccak256};

use super::{
    content::{
        BATCH, CONTRACT, HEARTBEAT, HEARTBEATS_END, REPORT, REPORT_V2, SIGNED, UNSIGNED, call,
    },
    message::{BatchData, Kind, MAX_CONTENT, Message},
    transaction::{Contract, Deposit, Internal, SubmitRetryable, Transaction, Unsigned},
};

/// How deep batches may lie in batches.
const MAX_DEPTH: usize = 16;
/// Since then a batch posting report has a second form.
const ARBOS_WITH_REPORT_V2: u64 = 50;

/// The transactions of a message. None if there is anything wrong in it.
pub(super) fn parse(
    message: &Message,
    chain_id: u64,
    arbos_version: u64,
) -> Option<Vec<Transaction>> {
    if message.content.len() > MAX_CONTENT {
        return None;
    }
    let parser = Parser { message, chain_id };
    let mut reader = Reader(&message.content);
    match message.header.kind {
        Kind::L2 => parser.l2(&mut reader, message.header.request_id, 0),
        Kind::END_OF_BLOCK | Kind::ROLLUP_EVENT => Some(Vec::new()),
        Kind::FUNDED => parser.funded(&mut reader),
        Kind::RETRYABLE => Some(vec![parser.retryable(&mut reader)?]),
        Kind::DEPOSIT => Some(vec![parser.deposit(&mut reader)?]),
        Kind::BATCH_REPORT => Some(vec![parser.report(&mut reader, arbos_version)?]),
        _ => None,
    }
}

struct Parser<'a> {
    message: &'a Message,
    chain_id: u64,
}

impl Parser<'_> {
    fn l2(
        &self,
        reader: &mut Reader<'_>,
        id: Option<B256>,
        depth: usize,
    ) -> Option<Vec<Transaction>> {
        match reader.take(1)?[0] {
            kind @ (UNSIGNED | CONTRACT) => Some(vec![self.unsigned(reader, kind, id)?]),
            BATCH if depth < MAX_DEPTH => {
                let mut all = Vec::new();
                let mut index = 0_u64;
                while let Some(inner) = reader.sized() {
                    let id = id.map(|outer| within(outer, index));
                    all.extend(self.l2(&mut Reader(inner), id, depth + 1)?);
                    index += 1;
                }
                Some(all)
            }
            SIGNED => Some(vec![Transaction::signed(reader.0)?]),
            HEARTBEAT if self.message.header.timestamp < HEARTBEATS_END => Some(Vec::new()),
            _ => None,
        }
    }

    fn unsigned(&self, reader: &mut Reader<'_>, kind: u8, id: Option<B256>) -> Option<Transaction> {
        let (chain_id, from) = (self.chain_id, self.message.header.poster);
        let (gas, fee_cap) = (reader.number()?, reader.word()?);
        let nonce = if kind == UNSIGNED { Some(reader.number()?) } else { None };
        let (to, value) = (reader.destination()?, reader.word()?);
        let data = reader.0.to_vec().into();
        Some(match nonce {
            Some(nonce) => Transaction::Unsigned(Unsigned {
                chain_id,
                from,
                nonce,
                fee_cap,
                gas,
                to,
                value,
                data,
            }),
            None => Transaction::Contract(Contract {
                chain_id,
                request_id: id?,
                from,
                fee_cap,
                gas,
                to,
                value,
                data,
            }),
        })
    }

    fn funded(&self, reader: &mut Reader<'_>) -> Option<Vec<Transaction>> {
        let id = self.message.header.request_id?;
        let kind = reader.take(1).filter(|kind| matches!(kind[0], UNSIGNED | CONTRACT))?[0];
        let funded = self.unsigned(reader, kind, Some(within(id, 1)))?;
        let value = match &funded {
            Transaction::Unsigned(Unsigned { value, .. })
            | Transaction::Contract(Contract { value, .. }) => *value,
            _ => return None,
        };
        let deposit = Deposit {
            chain_id: self.chain_id,
            request_id: within(id, 0),
            from: Address::ZERO,
            to: self.message.header.poster,
            value,
        };
        Some(vec![Transaction::Deposit(deposit), funded])
    }

    fn deposit(&self, reader: &mut Reader<'_>) -> Option<Transaction> {
        Some(Transaction::Deposit(Deposit {
            chain_id: self.chain_id,
            request_id: self.message.header.request_id?,
            from: self.message.header.poster,
            to: Address::from_slice(reader.take(20)?),
            value: reader.word()?,
        }))
    }

    fn retryable(&self, reader: &mut Reader<'_>) -> Option<Transaction> {
        let (retry_to, retry_value) = (reader.destination()?, reader.word()?);
        let (deposit, max_submission_fee) = (reader.word()?, reader.word()?);
        let (fee_refund, beneficiary) = (reader.address()?, reader.address()?);
        let (gas, fee_cap) = (reader.number()?, reader.word()?);
        let length = usize::try_from(reader.number()?).ok()?;
        let data = reader.take(length)?.to_vec().into();
        Some(Transaction::SubmitRetryable(SubmitRetryable {
            chain_id: self.chain_id,
            request_id: self.message.header.request_id?,
            from: self.message.header.poster,
            l1_base_fee: self.message.header.base_fee.unwrap_or_default(),
            deposit,
            fee_cap,
            gas,
            retry_to,
            retry_value,
            beneficiary,
            max_submission_fee,
            fee_refund,
            data,
        }))
    }

    fn report(&self, reader: &mut Reader<'_>, arbos_version: u64) -> Option<Transaction> {
        let timestamp = reader.word()?;
        let poster = U256::from_be_slice(reader.take(20)?);
        let _data_hash = reader.word()?;
        let (batch, base_fee) = (U256::from(reader.number()?), reader.word()?);
        let extra_gas = match reader.0 {
            [] => 0,
            _ => u64::from_be_bytes(reader.take(8)?.try_into().ok()?),
        };
        let data = self.message.batch_data.unwrap_or_default();
        let data = if arbos_version < ARBOS_WITH_REPORT_V2 {
            let gas = self.message.batch_gas.unwrap_or_else(|| gas_of(data));
            let gas = U256::from(gas.saturating_add(extra_gas));
            call(REPORT, &[timestamp, poster, batch, gas, base_fee])
        } else {
            let [length, nonzeros, extra] = [data.length, data.nonzeros, extra_gas].map(U256::from);
            call(REPORT_V2, &[timestamp, poster, batch, length, nonzeros, extra, base_fee])
        };
        Some(Transaction::Internal(Internal { chain_id: self.chain_id, data }))
    }
}

/// What a batch costs without its extra gas, before ArbOS 50.
fn gas_of(BatchData { length, nonzeros }: BatchData) -> u64 {
    const ZERO: u64 = 4;
    const NONZERO: u64 = 16;
    const SSTORE: u64 = 20_000;
    let hashing = 30 + 6 * length.div_ceil(32);
    ZERO * (length - nonzeros) + NONZERO * nonzeros + hashing + 2 * SSTORE
}

/// The request id of a part of a message.
fn within(outer: B256, index: u64) -> B256 {
    keccak256([outer, B256::from(U256::from(index))].concat())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<U256> {
        Some(U256::from_be_slice(self.take(32)?))
    }

    fn number(&mut self) -> Option<u64> {
        self.word()?.try_into().ok()
    }

    fn address(&mut self) -> Option<Address> {
        Some(Address::from_slice(&self.take(32)?[12..]))
    }

    fn destination(&mut self) -> Option<TxKind> {
        let address = self.address()?;
        Some(if address.is_zero() { TxKind::Create } else { TxKind::Call(address) })
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = u64::from_be_bytes(self.take(8)?.try_into().ok()?);
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_CONTENT)?;
        self.take(length)
    }
}
