//! What is posted to HotShot for messages.

use super::{feed::FeedMessage, message::Message};
use crate::signer::Signer;

/// What the forked batch poster posts: messages under one signature, those of the delayed inbox
/// without their content.
#[must_use]
pub fn v0(signer: &Signer, messages: &[Message]) -> Vec<u8> {
    let entry = |message: &Message| {
        let mut message = message.clone();
        if message.is_delayed() {
            message.content = alloy_primitives::Bytes::new();
        }
        entry(message.position, &message.rlp())
    };
    sealed(signer, &messages.iter().flat_map(entry).collect::<Vec<u8>>())
}

/// An entry of a V0 payload.
#[must_use]
pub fn entry(position: u64, message: &[u8]) -> Vec<u8> {
    [&position.to_be_bytes()[..], &sized(message)].concat()
}

/// A V0 payload with these entries.
#[must_use]
pub fn sealed(signer: &Signer, entries: &[u8]) -> Vec<u8> {
    let signature = signer.sign_digest(alloy_primitives::keccak256(entries));
    [&sized(&signature)[..], entries].concat()
}

/// What Espresso's posting service posts: messages of the feed, as they are.
#[must_use]
pub fn v1(messages: &[FeedMessage]) -> Vec<u8> {
    let texts: Vec<String> = messages.iter().map(FeedMessage::json).collect();
    v1_texts(texts.iter().map(String::as_str))
}

/// The same for messages in JSON.
pub(super) fn v1_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    std::iter::once("\"V1\"").chain(texts).flat_map(|text| sized(text.as_bytes())).collect()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes()[..], bytes].concat()
}
