//! A payload of the namespace: some messages, in one of two layouts.

use alloy_primitives::keccak256;

use super::{
    Refused,
    feed::{Encoded, FeedMessage},
    message::Message,
};
use crate::rollup::{Rejected, SIGNATURE_LENGTH};

/// The longest payload that is read.
pub const MAX_PAYLOAD: usize = 4 * 1024 * 1024;
/// How many messages of a payload are read.
pub const MAX_MESSAGES: usize = 4096;
/// The longest message in RLP that is read.
pub const MAX_RLP: usize = 1024 * 1024;

/// What a V1 payload begins with: the length of a JSON text, and the text.
const V1: &[u8] = b"\0\0\0\0\0\0\0\x04\"V1\"";

/// A payload, cut into its parts; none of them is read yet.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// By the batch poster: one signature over all messages.
    V0(Entries<'a>),
    /// By Espresso's posting service: messages of the feed, each with its signatures.
    V1(Parts<'a>),
}

/// The parts of a V0 payload.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    /// Over the keccak256 of the entries.
    pub signature: &'a [u8],
    /// The entries.
    pub signed: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Tells the layouts apart.
    ///
    /// # Errors
    /// [`Rejected::Structure`] if it is none of the two, [`Rejected::TooShort`] if the signature is
    /// cut.
    pub fn read(payload: &'a [u8]) -> Result<Self, Rejected> {
        if payload.len() > MAX_PAYLOAD {
            return Err(structure(format!("a payload of {} bytes is too long", payload.len())));
        }
        if let Some(rest) = payload.strip_prefix(V1) {
            return Ok(Self::V1(Parts(rest)));
        }
        let Some((length, rest)) = number(payload) else {
            return Err(Rejected::TooShort { length: payload.len() });
        };
        if length != SIGNATURE_LENGTH as u64 {
            return Err(structure(format!(
                "neither a V1 payload nor a signature: length {length}"
            )));
        }
        match rest.split_at_checked(SIGNATURE_LENGTH) {
            Some((signature, signed)) => Ok(Self::V0(Entries { signature, signed })),
            None => Err(Rejected::TooShort { length: rest.len() }),
        }
    }
}

impl<'a> Entries<'a> {
    /// What was signed.
    #[must_use]
    pub fn signed_digest(&self) -> alloy_primitives::B256 {
        keccak256(self.signed)
    }

    /// The messages. An entry that is no message is one for itself; empty ones are none.
    ///
    /// # Errors
    /// [`Rejected::Structure`] if the entries do not fill the payload, or if there are none or too
    /// many.
    pub fn messages(&self) -> Result<Vec<Result<Message<'a>, Rejected>>, Rejected> {
        let mut messages = Vec::new();
        let mut rest = self.signed;
        while !rest.is_empty() {
            let cut = || structure("an entry is cut".into());
            let (position, parts) = number(rest).ok_or_else(cut)?;
            let (message, next) = sized(parts).ok_or_else(cut)?;
            rest = next;
            if message.is_empty() {
                continue;
            }
            bounded(messages.len())?;
            messages.push(if message.len() > MAX_RLP {
                Err(structure(format!("a message of {} bytes is too long", message.len())))
            } else {
                Message::decode(position, message)
            });
        }
        if messages.is_empty() { Err(structure("no message".into())) } else { Ok(messages) }
    }
}

/// The messages of a V1 payload, in order: each read as it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// The JSON of each message.
    ///
    /// # Errors
    /// [`Rejected::Structure`] if the texts do not fill the payload, or if there are none or too
    /// many.
    pub fn texts(self) -> Result<Vec<&'a [u8]>, Rejected> {
        let Self(mut rest) = self;
        let mut texts = Vec::new();
        while !rest.is_empty() {
            let (text, next) = sized(rest).ok_or_else(|| structure("a message is cut".into()))?;
            bounded(texts.len())?;
            texts.push(text);
            rest = next;
        }
        if texts.is_empty() { Err(structure("no message".into())) } else { Ok(texts) }
    }

    /// The messages; one that cannot be read, or that the sequencer does not make so, is refused
    /// alone. Of such a one nothing else is decoded.
    ///
    /// # Errors
    /// As [`Self::texts`].
    pub fn messages(
        self,
    ) -> Result<impl Iterator<Item = Result<FeedMessage, Refused>> + use<'a>, Rejected> {
        Ok(self.texts()?.into_iter().map(message))
    }
}

/// The message in a text, if the sequencer makes it so.
fn message(text: &[u8]) -> Result<FeedMessage, Refused> {
    let at = |position| move |rejected| Refused { position, rejected };
    let encoded = Encoded::read(text).map_err(at(None))?;
    let position = Some(encoded.position());
    encoded.origin().map_err(at(position))?;
    encoded.decode().map_err(at(position))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// Bytes after their length.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn bounded(count: usize) -> Result<(), Rejected> {
    if count < MAX_MESSAGES {
        Ok(())
    } else {
        Err(structure(format!("more than {MAX_MESSAGES} messages")))
    }
}

fn structure(problem: String) -> Rejected {
    Rejected::Structure(problem)
}
