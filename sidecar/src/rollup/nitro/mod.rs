//! Arbitrum Nitro: the messages that a batch poster or Espresso's posting service puts into the
//! namespace.

mod block;
mod chain;
mod compare;
mod copy;
mod delayed;
mod feed;
mod finality;
mod interface;
mod message;
mod parent;
mod parse;
mod payload;
mod recoveries;
mod signed;
mod transaction;

use alloy_primitives::{Address, B256};

use self::{feed::LastDigest, recoveries::Recoveries};
use super::Rejected;
use crate::batchers::KnownBatchers;

pub use block::{Below, NitroBlock};
pub use chain::NitroChain;
pub use copy::{Copy, Facts, Transactions};
pub use delayed::{Delayed, DelayedPlace, ParentSource};
pub use feed::FeedMessage;
pub use finality::Settled;
pub use interface::genesis_block;
pub use message::{BatchData, Message, MessageHeader, MessageKind, Origin, SEQUENCER};
pub use parent::Parent;
pub use parse::{Parsed, Report, Unparsable, parse};
pub use payload::{Entries, MAX_MESSAGES, MAX_PAYLOAD, MAX_RLP, Parts, Payload};
pub use signed::Undecodable;

/// How many signatures of a V1 payload are tried until one is a known signer's; and how many of
/// strangers in a scheme, until that scheme is tried only where the other shows no known signer.
const STRANGERS: usize = 16;

/// What the signatures of a V1 payload may cost.
#[derive(Debug)]
struct Budget {
    /// How many are recovered at most.
    recoveries: usize,
    /// By scheme: `signature`, and `signatureV2`.
    schemes: [Spent; 2],
}

/// What the signatures of one scheme have cost.
#[derive(Debug, Default)]
struct Spent {
    /// How many were strangers'. Beside a known signer's they tell nothing, and anybody can put
    /// them there.
    strangers: usize,
    digest: LastDigest,
}

impl Default for Budget {
    fn default() -> Self {
        Self { recoveries: STRANGERS, schemes: Default::default() }
    }
}

/// A Nitro chain, with the addresses whose signatures are read.
#[derive(Debug, Clone)]
pub struct Nitro {
    chain_id: u64,
    signers: KnownBatchers,
    recoveries: Recoveries,
}

/// What a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// All messages of a V0 payload.
    V0,
    /// The feed's `signature`: all of the message, but not the hash of its block.
    Signature,
    /// The feed's `signatureV2`: the hash of the block, too, where there is one.
    SignatureV2,
}

/// A signature by a known signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// What it covers.
    pub scheme: Scheme,
    /// The signer.
    pub signer: Address,
    /// The digest that it is over.
    pub digest: B256,
}

/// A message with its signatures by known signers, of which there is one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted<'a> {
    /// The message.
    pub message: Message<'a>,
    /// Where it comes from, as its form says.
    pub origin: Origin,
    /// Hash of its block, as the sequencer made it; signed by [`Scheme::SignatureV2`] alone.
    pub block_hash: Option<B256>,
    /// How long its metadata are.
    pub metadata: usize,
    /// Its signatures.
    pub signatures: Vec<Signed>,
}

/// A message of a payload that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its position, if it could be read.
    pub position: Option<u64>,
    /// Why.
    pub rejected: Rejected,
}

impl Nitro {
    /// A chain whose messages are signed by one of `signers`.
    pub fn new(chain_id: u64, signers: impl IntoIterator<Item = Address>) -> Self {
        Self::with(chain_id, signers.into_iter().collect())
    }

    fn with(chain_id: u64, signers: KnownBatchers) -> Self {
        Self { chain_id, signers, recoveries: Recoveries::default() }
    }

    /// Reads the messages of a payload, each with its signatures by known signers; one that is
    /// refused does no harm to the others. Anybody may post in the namespace: the payload of a
    /// stranger costs one recovery under V0, and at most 16 under V1.
    ///
    /// # Errors
    /// The bytes are no payload, or no message of it is by a known signer.
    pub fn admit<'a>(
        &self,
        payload: &'a [u8],
    ) -> Result<Vec<Result<Posted<'a>, Refused>>, Rejected> {
        match Payload::read(payload)? {
            Payload::V0(entries) => {
                let signed = self.signed(Scheme::V0, entries.signature, entries.signed_digest())?;
                let messages = entries.messages()?.into_iter();
                Ok(messages.map(|message| Posted::of_entry(message, signed)).collect())
            }
            Payload::V1(parts) => self.admit_feed(parts.messages()?),
        }
    }

    /// Whether something in a payload is signed by a known signer. Nothing behind that is read.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn authenticate(&self, payload: &[u8]) -> Result<(), Rejected> {
        let parts = match Payload::read(payload)? {
            Payload::V0(entries) => {
                let digest = entries.signed_digest();
                return self.signed(Scheme::V0, entries.signature, digest).map(drop);
            }
            Payload::V1(parts) => parts,
        };
        let (mut first, mut budget) = (None, Budget::default());
        for message in parts.messages()? {
            let (signatures, refused) = match message {
                Ok(feed) => self.signatures(&feed, &mut budget),
                Err(Refused { rejected, .. }) => (Vec::new(), vec![rejected]),
            };
            if !signatures.is_empty() {
                return Ok(());
            }
            first = first.or(refused.into_iter().next());
            if budget.recoveries == 0 {
                break;
            }
        }
        Err(first.unwrap_or(Rejected::TooShort { length: 0 }))
    }

    fn admit_feed<'a>(
        &self,
        messages: impl Iterator<Item = Result<FeedMessage, Refused>>,
    ) -> Result<Vec<Result<Posted<'a>, Refused>>, Rejected> {
        let mut posted = Vec::new();
        let (mut known, mut budget) = (false, Budget::default());
        for message in messages {
            let feed = match message {
                Ok(feed) => feed,
                Err(refused) => {
                    posted.push(Err(refused));
                    continue;
                }
            };
            let (signatures, refused) = self.signatures(&feed, &mut budget);
            known |= !signatures.is_empty();
            if known {
                budget.recoveries = usize::MAX;
            }
            let position = Some(feed.message.position);
            posted.push(match refused.into_iter().next() {
                Some(rejected) if signatures.is_empty() => Err(Refused { position, rejected }),
                _ => {
                    let metadata = feed.block_metadata.len();
                    Posted::new(feed.message, feed.block_hash, metadata, signatures)
                }
            });
            if budget.recoveries == 0 {
                break;
            }
        }
        let first = posted.iter().find_map(|message| message.as_ref().err());
        match first {
            Some(refused) if !known => Err(refused.rejected.clone()),
            _ => Ok(posted),
        }
    }

    /// The signatures of a message of the feed: by known signers, and why others do not count.
    fn signatures(
        &self,
        feed: &FeedMessage,
        Budget { recoveries, schemes: [first, second] }: &mut Budget,
    ) -> (Vec<Signed>, Vec<Rejected>) {
        type Bytes = fn(&FeedMessage, u64) -> Vec<u8>;
        let mut both: [(Scheme, &[u8], Bytes, &mut Spent); 2] = [
            (Scheme::Signature, &feed.signature, FeedMessage::signed, first),
            (Scheme::SignatureV2, &feed.signature_v2, FeedMessage::signed_v2, second),
        ];
        let is_spent = |spent: &Spent| spent.strangers >= STRANGERS;
        both.sort_by_key(|(.., spent)| is_spent(spent));
        let (mut signatures, mut refused) = (Vec::new(), Vec::new());
        for (scheme, signature, bytes, spent) in both {
            let is_needless = is_spent(spent) && !signatures.is_empty();
            if signature.is_empty() || *recoveries == 0 || is_needless {
                continue;
            }
            *recoveries -= 1;
            match self.signed(scheme, signature, spent.digest.of(bytes(feed, self.chain_id))) {
                Ok(signed) => signatures.push(signed),
                Err(rejected) => {
                    spent.strangers += 1;
                    refused.push(rejected);
                }
            }
        }
        if signatures.is_empty() && refused.is_empty() {
            refused.push(Rejected::TooShort { length: 0 });
        }
        (signatures, refused)
    }

    fn signed(&self, scheme: Scheme, signature: &[u8], digest: B256) -> Result<Signed, Rejected> {
        let is_known = |signer: &Address| self.signers.contains(signer);
        let signer = self.recoveries.signer(digest, signature, is_known)?;
        if is_known(&signer) {
            Ok(Signed { scheme, signer, digest })
        } else {
            Err(Rejected::UnauthorizedSigner(signer))
        }
    }
}

impl<'a> Posted<'a> {
    fn new(
        message: Message<'a>,
        block_hash: Option<B256>,
        metadata: usize,
        signatures: Vec<Signed>,
    ) -> Result<Self, Refused> {
        match message.origin() {
            Ok(origin) => Ok(Self { message, origin, block_hash, metadata, signatures }),
            Err(rejected) => Err(Refused { position: Some(message.position), rejected }),
        }
    }

    fn of_entry(message: Result<Message<'a>, Rejected>, signed: Signed) -> Result<Self, Refused> {
        match message {
            Ok(message) => Self::new(message, None, 0, vec![signed]),
            Err(rejected) => Err(Refused { position: None, rejected }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
