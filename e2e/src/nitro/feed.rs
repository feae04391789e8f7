//! Messages of the sequencer's feed, in JSON.

use std::fmt::Write as _;

use alloy_primitives::{B256, Bytes, U256};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    block::Block,
    message::{Header, Message},
};
use crate::signer::Signer;

/// A message of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedMessage {
    /// The message.
    pub message: Message,
    /// The hash of its block.
    pub block_hash: Option<B256>,
    /// Which of the block's transactions were timeboosted.
    pub metadata: Bytes,
    /// Over all of the message.
    pub signature: Option<Bytes>,
    /// Over the hash of the block, the metadata and the message.
    pub signature_v2: Option<Bytes>,
}

impl FeedMessage {
    /// The message of a block, without signatures.
    #[must_use]
    pub fn of(block: &Block) -> Self {
        let metadata = vec![0; 1 + block.transactions.len().div_ceil(8)];
        Self {
            message: block.message().clone(),
            block_hash: Some(block.hash),
            metadata: metadata.into(),
            signature: None,
            signature_v2: None,
        }
    }

    /// Adds a `signature`.
    #[must_use]
    pub fn sign(mut self, signer: &Signer, chain_id: u64) -> Self {
        let digest = self.message.digest(chain_id);
        self.signature = Some(signer.sign_digest(digest).to_vec().into());
        self
    }

    /// Adds a `signatureV2`.
    #[must_use]
    pub fn sign_v2(mut self, signer: &Signer, chain_id: u64) -> Self {
        let digest = self.digest_v2(chain_id);
        self.signature_v2 = Some(signer.sign_digest(digest).to_vec().into());
        self
    }

    /// What `signatureV2` is over.
    #[must_use]
    pub fn digest_v2(&self, chain_id: u64) -> B256 {
        self.message.digest_v2(chain_id, self.block_hash, &self.metadata)
    }

    /// The JSON, as Go writes it. Base fees may need more than 64 bits, so it is made by hand.
    #[must_use]
    pub fn json(&self) -> String {
        let Message { position, delayed_read, header, content, batch_gas, batch_data } =
            &self.message;
        let Header { kind, poster, block_number, timestamp, request_id, base_fee } = header;
        let request_id = request_id.map_or("null".into(), |id| format!("\"{id}\""));
        let base_fee = base_fee.as_ref().map_or("null".into(), U256::to_string);
        // Go writes no bytes as null.
        let content = match content.is_empty() {
            true => "null".into(),
            false => format!("\"{}\"", STANDARD.encode(content)),
        };
        let mut json = format!(
            "{{\"sequenceNumber\":{position},\"message\":{{\"message\":{{\"header\":{{\
             \"kind\":{},\"sender\":\"{poster:#x}\",\"blockNumber\":{block_number},\
             \"timestamp\":{timestamp},\"requestId\":{request_id},\"baseFeeL1\":{base_fee}}},\
             \"l2Msg\":{content}",
            kind.0,
        );
        let mut add = |text: std::fmt::Arguments<'_>| json.write_fmt(text).unwrap();
        if let Some(gas) = batch_gas {
            add(format_args!(",\"batchGasCost\":{gas}"));
        }
        if let Some(data) = batch_data {
            let (length, nonzeros) = (data.length, data.nonzeros);
            add(format_args!(
                ",\"batchDataTokens\":{{\"length\":{length},\"nonzeros\":{nonzeros}}}"
            ));
        }
        add(format_args!("}},\"delayedMessagesRead\":{delayed_read}}}"));
        if let Some(hash) = self.block_hash {
            add(format_args!(",\"blockHash\":\"{hash}\""));
        }
        let fields = [("signature", &self.signature), ("signatureV2", &self.signature_v2)];
        for (name, signature) in fields {
            if let Some(signature) = signature {
                add(format_args!(",\"{name}\":\"{}\"", STANDARD.encode(signature)));
            }
        }
        if !self.metadata.is_empty() {
            add(format_args!(",\"blockMetadata\":\"{}\"", STANDARD.encode(&self.metadata)));
        }
        json.push('}');
        json
    }
}
