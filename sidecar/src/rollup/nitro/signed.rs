//! Which signed transactions go-ethereum decodes. One that it does not decode empties the whole
//! message, so each form is exact; whether a signature is valid is not asked here, since such a
//! transaction is merely dropped.

use alloy_rlp::Header;
use thiserror::Error;

/// Why go-ethereum does not decode a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Undecodable {
    /// Its type is unknown, or not one that a message may have.
    #[error("type {0}")]
    Type(u8),
    /// It is empty, or nothing but a type.
    #[error("too short")]
    TooShort,
    /// Its RLP is not that of its type.
    #[error("{0}")]
    Rlp(alloy_rlp::Error),
}

/// The form of a field.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// An integer of at most this many bytes, without leading zeros.
    Integer(usize),
    /// 20 bytes.
    Address,
    /// 20 bytes, or nothing.
    Destination,
    /// Any bytes.
    Bytes,
    /// 32 bytes.
    Word,
    /// A list of fields, each of the next form.
    Each(&'static Form),
    /// A list of fields of these forms.
    Fields(&'static [Form]),
}

const U64: Form = Form::Integer(8);
/// go-ethereum's `big.Int` has no bound.
const BIG: Form = Form::Integer(usize::MAX);
const U256: Form = Form::Integer(32);
const ACCESS_LIST: Form = Form::Each(&Form::Fields(&[Form::Address, Form::Each(&Form::Word)]));
const AUTHORIZATIONS: Form =
    Form::Each(&Form::Fields(&[U256, Form::Address, U64, Form::Integer(1), U256, U256]));

/// `[nonce, gas price, gas, to, value, data, v, r, s]`.
const LEGACY: &[Form] = &[U64, BIG, U64, Form::Destination, BIG, Form::Bytes, BIG, BIG, BIG];
/// Type 1: `[chain, nonce, gas price, gas, to, value, data, access list, v, r, s]`.
const ACCESS: &[Form] =
    &[BIG, U64, BIG, U64, Form::Destination, BIG, Form::Bytes, ACCESS_LIST, BIG, BIG, BIG];
/// Type 2: `[chain, nonce, tip cap, fee cap, gas, to, value, data, access list, v, r, s]`.
const DYNAMIC_FEE: &[Form] =
    &[BIG, U64, BIG, BIG, U64, Form::Destination, BIG, Form::Bytes, ACCESS_LIST, BIG, BIG, BIG];
/// Type 4: as type 2 with a recipient, and authorizations before the signature.
const SET_CODE: &[Form] = &[
    U256,
    U64,
    U256,
    U256,
    U64,
    Form::Address,
    U256,
    Form::Bytes,
    ACCESS_LIST,
    AUTHORIZATIONS,
    U256,
    U256,
    U256,
];

/// Checks a signed transaction in network encoding.
///
/// # Errors
/// [`Undecodable`].
pub(super) fn check(transaction: &[u8]) -> Result<(), Undecodable> {
    let (&first, rest) = transaction.split_first().ok_or(Undecodable::TooShort)?;
    let (forms, mut rlp) = match first {
        0x80.. => (LEGACY, transaction),
        _ if rest.is_empty() => return Err(Undecodable::TooShort),
        1 => (ACCESS, rest),
        2 => (DYNAMIC_FEE, rest),
        4 => (SET_CODE, rest),
        other => return Err(Undecodable::Type(other)),
    };
    Form::Fields(forms).take(&mut rlp).and_then(|()| end(rlp)).map_err(Undecodable::Rlp)
}

impl Form {
    /// Takes one field of this form.
    fn take(self, input: &mut &[u8]) -> Result<(), alloy_rlp::Error> {
        match self {
            Self::Each(form) => {
                let mut items = Header::decode_bytes(input, true)?;
                while !items.is_empty() {
                    form.take(&mut items)?;
                }
                return Ok(());
            }
            Self::Fields(forms) => {
                let mut fields = Header::decode_bytes(input, true)?;
                forms.iter().try_for_each(|form| form.take(&mut fields))?;
                return end(fields);
            }
            _ => {}
        }
        let bytes = Header::decode_bytes(input, false)?;
        let valid = match self {
            Self::Integer(_) if bytes.first() == Some(&0) => {
                return Err(alloy_rlp::Error::LeadingZero);
            }
            Self::Integer(most) => bytes.len() <= most,
            Self::Address => bytes.len() == 20,
            Self::Destination => matches!(bytes.len(), 0 | 20),
            Self::Word => bytes.len() == 32,
            Self::Bytes | Self::Each(_) | Self::Fields(_) => true,
        };
        if valid { Ok(()) } else { Err(alloy_rlp::Error::UnexpectedLength) }
    }
}

fn end(rest: &[u8]) -> Result<(), alloy_rlp::Error> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(alloy_rlp::Error::ListLengthMismatch { expected: 0, got: rest.len() })
    }
}
