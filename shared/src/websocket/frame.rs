//! The header and the mask of one frame (RFC 6455, section 5.2).

use super::Fault;

/// The opcode of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    const fn parse(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

const END: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The longest payload whose length fits in the second byte, and the values that announce two or
/// eight bytes of length after it.
const SHORT: u8 = 125;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// The header of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it is the last frame of its message.
    pub(super) end: bool,
    pub(super) opcode: Opcode,
    pub(super) key: [u8; 4],
    /// Length of the payload, in bytes.
    pub(super) length: u64,
}

impl Header {
    /// Parses a header; `None` if it is incomplete.
    ///
    /// # Errors
    /// [`Fault`] if a client must not send such a frame.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Fault::Extension);
        }
        let opcode = Opcode::parse(first & 0x0f).ok_or(Fault::Opcode)?;
        if second & MASKED == 0 {
            return Err(Fault::Unmasked);
        }
        let (end, short) = (first & END != 0, second & !MASKED);
        if opcode.is_control() && (!end || short > SHORT) {
            return Err(Fault::Control);
        }
        let (length, rest) = match short {
            LENGTH_16 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            LENGTH_64 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        Ok(rest.first_chunk().map(|&key| Self { end, opcode, key, length }))
    }
}

/// Appends a complete message as one frame.
pub(super) fn write(opcode: Opcode, key: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    out.push(END | opcode as u8);
    match payload.len() {
        length if length <= usize::from(SHORT) => out.push(MASKED | length as u8),
        length => match u16::try_from(length) {
            Ok(length) => {
                out.push(MASKED | LENGTH_16);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(MASKED | LENGTH_64);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        },
    }
    out.extend_from_slice(&key);
    let from = out.len();
    out.extend_from_slice(payload);
    mask(out.get_mut(from..).unwrap_or_default(), key, 0);
}

/// Masks or unmasks a part of a payload that starts at the given offset.
pub(super) fn mask(part: &mut [u8], mut key: [u8; 4], offset: u64) {
    key.rotate_left((offset % 4) as usize);
    let (words, tail) = part.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}
