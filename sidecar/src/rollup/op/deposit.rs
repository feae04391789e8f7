//! Deposit transactions, type 0x7e.

use alloy_primitives::{Address, B256, U256, address};
use alloy_rlp::{Decodable, Header};

use crate::rollup::Rejected;

/// The type byte of a deposit.
pub const DEPOSIT_TYPE: u8 = 0x7e;

/// The sender of every L1-info deposit (OP-stack specification, "L1 attributes depositor account").
const DEPOSITOR: Address = address!("0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001");
/// The contract that every L1-info deposit calls (OP-stack predeploy).
const L1_BLOCK: Address = address!("0x4200000000000000000000000000000000000015");

/// The parts of an L1-info deposit that are checked. The rest is covered by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposit<'a> {
    /// Call data.
    pub data: &'a [u8],
}

impl<'a> Deposit<'a> {
    /// Reads `0x7e || rlp([source hash, from, to, mint, value, gas, is system, data])`.
    ///
    /// # Errors
    /// [`Rejected::Structure`] for anything else.
    pub fn decode(raw: &'a [u8]) -> Result<Self, Rejected> {
        let structure = |problem: &str| Rejected::Structure(format!("L1-info deposit: {problem}"));
        let mut rest = match raw.split_first() {
            Some((&DEPOSIT_TYPE, rest)) => rest,
            Some((kind, _)) => {
                return Err(structure(&format!("type 0x{kind:02x} is not a deposit (0x7e)")));
            }
            None => return Err(structure("it is empty")),
        };
        let mut fields =
            Header::decode_bytes(&mut rest, true).map_err(|error| structure(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(structure("bytes follow its list"));
        }
        let data = Self::fields(&mut fields).map_err(|error| structure(&error.to_string()))?;
        if !fields.is_empty() {
            return Err(structure("it has more than eight fields"));
        }
        Ok(Self { data })
    }

    fn fields(fields: &mut &'a [u8]) -> alloy_rlp::Result<&'a [u8]> {
        B256::decode(fields)?; // source hash
        if Address::decode(fields)? != DEPOSITOR {
            return Err(alloy_rlp::Error::Custom("its sender is not the L1 attributes depositor"));
        }
        if Address::decode(fields)? != L1_BLOCK {
            return Err(alloy_rlp::Error::Custom("it does not call the L1 block contract"));
        }
        U256::decode(fields)?; // mint, empty for none
        U256::decode(fields)?; // value
        u64::decode(fields)?; // gas
        bool::decode(fields)?; // is system
        Header::decode_bytes(fields, false)
    }
}
