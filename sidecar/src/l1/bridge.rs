//! Arbitrum's contracts on a chain's parent: the bridge with the delayed inbox, and the sequencer
//! inbox.

use alloy_primitives::{Address, B256, Bytes, U256, b256};
use serde::Deserialize;
use serde_json::json;

use super::{Endpoint, L1, State, number, search::Search};
use crate::{
    eth::{BlockId, quantity},
    upstream::{Upstream, UpstreamError},
};

/// Call data of `delayedMessageCount()`.
const DELAYED_COUNT: &str = "0xeca067ad";
/// Call data of `batchCount()`.
const BATCH_COUNT: &str = "0x06f13056";
/// Call data of `bridge()`.
const BRIDGE: &str = "0xe78cea92";
/// The selector of `sendL2MessageFromOrigin(bytes)`.
const FROM_ORIGIN_CALL: [u8; 4] = [0x1f, 0xe9, 0x27, 0xcf];
/// `MessageDelivered(uint256,bytes32,address,uint8,address,bytes32,uint256,uint64)`.
const DELIVERED: B256 = b256!("0x5e3c1311ea442664e8b1611bfabef659120ea7a0a2cfc0667700bebc69cbffe1");
/// `InboxMessageDelivered(uint256,bytes)`.
const INBOX: B256 = b256!("0xff64905f73a67fb594e0f940a8075a860db489ad991e032f48c81123eb52d60b");
/// `InboxMessageDeliveredFromOrigin(uint256)`.
const FROM_ORIGIN: B256 =
    b256!("0xab532385be8f1005a4b6ba8fa20a2245facb346134ac739fe9a5198dc1580b9c");

/// A message of the delayed inbox, by the events of the bridge and of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayedMessage {
    /// Its kind.
    pub kind: u8,
    /// Who sent it on the parent chain.
    pub sender: Address,
    /// The L1 block number of its block.
    pub block_number: u64,
    /// Time of its block, seconds since the epoch.
    pub timestamp: u64,
    /// The parent chain's base fee.
    pub base_fee: U256,
    /// Keccak-256 of its data, as the bridge says.
    pub data_hash: B256,
    /// Its data, as the inbox says; none if they cannot be read.
    pub data: Option<Bytes>,
}

/// What is found of a message in the blocks that were made at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought<T> {
    /// It is there.
    Found(T),
    /// It is not there: there are no such blocks, or the bridge's count did not reach over its
    /// index in them.
    Elsewhere,
    /// No event tells of it, nor does the count say that there is none: what tells of logs may lag.
    Untold,
}

/// A block of the parent chain, as far as it says when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    #[serde(deserialize_with = "quantity")]
    number: u64,
    #[serde(deserialize_with = "quantity")]
    timestamp: u64,
    #[serde(default)]
    mix_hash: B256,
    /// Only blocks of Arbitrum have it.
    send_root: Option<B256>,
}

impl Made {
    /// The number of its L1 block, which is its own unless it is a block of Arbitrum.
    fn l1_number(&self) -> u64 {
        let bytes = self.mix_hash.iter().skip(8).take(8);
        match self.send_root {
            Some(_) => bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)),
            None => self.number,
        }
    }
}

/// An event, and the transaction that caused it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    #[serde(deserialize_with = "quantity")]
    block_number: u64,
    transaction_hash: B256,
    data: Bytes,
}

/// What is asked of an endpoint of the parent chain besides.
pub trait ParentEndpoint: Endpoint {
    /// When the block with a number was made; none if it does not have it.
    fn made(&self, number: u64)
    -> impl Future<Output = Result<Option<Made>, UpstreamError>> + Send;
    /// The events of a contract with these topics in the blocks `from..=until`.
    fn events(
        &self,
        contract: Address,
        topics: [B256; 2],
        from: u64,
        until: u64,
    ) -> impl Future<Output = Result<Vec<Event>, UpstreamError>> + Send;
    /// The call data of a transaction.
    fn call_data(
        &self,
        transaction: B256,
    ) -> impl Future<Output = Result<Option<Bytes>, UpstreamError>> + Send;
}

#[derive(Deserialize)]
struct Called {
    input: Bytes,
}

impl ParentEndpoint for Upstream {
    async fn made(&self, number: u64) -> Result<Option<Made>, UpstreamError> {
        self.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await
    }

    async fn events(
        &self,
        contract: Address,
        topics: [B256; 2],
        from: u64,
        until: u64,
    ) -> Result<Vec<Event>, UpstreamError> {
        let filter = json!({
            "address": contract,
            "topics": topics,
            "fromBlock": format!("{from:#x}"),
            "toBlock": format!("{until:#x}"),
        });
        self.call("eth_getLogs", json!([filter])).await
    }

    async fn call_data(&self, transaction: B256) -> Result<Option<Bytes>, UpstreamError> {
        let called: Option<Called> =
            self.call("eth_getTransactionByHash", json!([transaction])).await?;
        Ok(called.map(|called| called.input))
    }
}

impl<E: ParentEndpoint> L1<E> {
    /// How many messages the delayed inbox of a bridge has after a block.
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here.
    pub async fn delayed_count(
        &self,
        bridge: Address,
        block: BlockId,
    ) -> Result<u64, UpstreamError> {
        self.count(bridge, DELAYED_COUNT, block, "bridge_address").await
    }

    /// How many batches a sequencer inbox has after a block.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn batch_count(&self, inbox: Address, block: BlockId) -> Result<u64, UpstreamError> {
        self.count(inbox, BATCH_COUNT, block, "sequencer_inbox_address").await
    }

    /// The bridge that a sequencer inbox belongs to, as it says.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn bridge_of(
        &self,
        inbox: Address,
        block: BlockId,
    ) -> Result<Address, UpstreamError> {
        let answer = self.view(inbox, BRIDGE, State::Of(block)).await?;
        let word = B256::try_from(answer.as_ref()).map_err(|_| {
            UpstreamError::Malformed(format!("{inbox} names no bridge (sequencer_inbox_address)"))
        })?;
        Ok(Address::from_word(word))
    }

    async fn count(
        &self,
        contract: Address,
        data: &str,
        block: BlockId,
        setting: &str,
    ) -> Result<u64, UpstreamError> {
        let answer = self.view(contract, data, State::Of(block)).await?;
        let word = <&[u8; 32]>::try_from(answer.as_ref()).ok();
        word.and_then(number).ok_or_else(|| {
            UpstreamError::Malformed(format!("{contract} has no such count ({setting})"))
        })
    }

    /// The message of a bridge's delayed inbox with an index, which the bridge has at a final
    /// block, if it is in a block that was made at this time, and that block's number. It is looked
    /// for around a block that is near.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn delayed_message(
        &self,
        bridge: Address,
        index: u64,
        timestamp: u64,
        near: u64,
        finalized: BlockId,
    ) -> Result<Sought<(u64, DelayedMessage)>, UpstreamError> {
        let from = self.first_made_at(timestamp, near, finalized.number).await?;
        let next = timestamp.saturating_add(1);
        let until = self.first_made_at(next, from, finalized.number).await?.saturating_sub(1);
        if from > until {
            return Ok(Sought::Elsewhere);
        }
        let topics = |signature| [signature, B256::from(U256::from(index))];
        let delivered = self.events(bridge, topics(DELIVERED), from, until).await?;
        let Some(event) = delivered.first() else {
            let is_elsewhere = self.is_outside(bridge, index, from, until).await?;
            return Ok(if is_elsewhere { Sought::Elsewhere } else { Sought::Untold });
        };
        let malformed = |what| UpstreamError::Malformed(format!("delayed message {index}: {what}"));
        let (words, []) = event.data.as_chunks::<32>() else {
            return Err(malformed("no event of a bridge (bridge_address)"));
        };
        let [inbox, kind, sender, data_hash, base_fee, timestamp] = words else {
            return Err(malformed("no event of a bridge (bridge_address)"));
        };
        let too_big = || malformed("a number is too big");
        let kind = number(kind).and_then(|kind| kind.try_into().ok()).ok_or_else(too_big)?;
        let timestamp = number(timestamp).ok_or_else(too_big)?;
        let inbox = Address::from_word(inbox.into());
        let at = event.block_number;
        let made = self.made(at).await?.ok_or_else(|| malformed("its block is missing"))?;
        let sent = self.events(inbox, topics(INBOX), at, at).await?;
        let data = match sent.first() {
            Some(sent) => bytes(&sent.data),
            None => {
                let sent = self.events(inbox, topics(FROM_ORIGIN), at, at).await?;
                let call = match sent.first() {
                    Some(sent) => self.call_data(sent.transaction_hash).await?,
                    None => None,
                };
                call.as_ref().and_then(|call| bytes(call.strip_prefix(&FROM_ORIGIN_CALL)?))
            }
        };
        let message = DelayedMessage {
            kind,
            sender: Address::from_word(sender.into()),
            block_number: made.l1_number(),
            timestamp,
            base_fee: U256::from_be_bytes(*base_fee),
            data_hash: data_hash.into(),
            data,
        };
        Ok(Sought::Found((at, message)))
    }

    /// Whether a bridge is known to have got the message with an index before or after the blocks
    /// `from..=until`: by its count, for which no logs are needed. An endpoint may not have the
    /// state of old blocks any more.
    async fn is_outside(
        &self,
        bridge: Address,
        index: u64,
        from: u64,
        until: u64,
    ) -> Result<bool, UpstreamError> {
        let after = self.count_at(bridge, until).await?;
        if after.is_some_and(|count| count <= index) {
            return Ok(true);
        }
        let Some(before) = from.checked_sub(1) else { return Ok(false) };
        Ok(self.count_at(bridge, before).await?.is_some_and(|count| count > index))
    }

    /// The count of a bridge's delayed inbox after the block with a number; none if it is not known
    /// any more.
    async fn count_at(&self, bridge: Address, number: u64) -> Result<Option<u64>, UpstreamError> {
        let Some(hash) = self.hash_at(number).await? else { return Ok(None) };
        match self.view(bridge, DELAYED_COUNT, State::Of(BlockId { number, hash })).await {
            // Before there was a bridge.
            Ok(answer) if answer.is_empty() => Ok(Some(0)),
            Ok(answer) => Ok(<&[u8; 32]>::try_from(answer.as_ref()).ok().and_then(self::number)),
            Err(UpstreamError::Rpc { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first block that was made at a time or later; the one after the last if there is none.
    async fn first_made_at(
        &self,
        timestamp: u64,
        near: u64,
        last: u64,
    ) -> Result<u64, UpstreamError> {
        let mut search = Search::new(near, last);
        while let Some(at) = search.next() {
            let made = self.made(at).await?.ok_or_else(|| {
                UpstreamError::Distrusted(format!("it does not have its block {at}"))
            })?;
            search.saw(made.timestamp >= timestamp);
        }
        Ok(search.found())
    }

    async fn made(&self, number: u64) -> Result<Option<Made>, UpstreamError> {
        let voters = self.memory.lock().voters.clone();
        let ask = |endpoint: E| async move { endpoint.made(number).await };
        self.panel.agree(&voters, "a block", ask).await
    }

    async fn events(
        &self,
        contract: Address,
        topics: [B256; 2],
        from: u64,
        until: u64,
    ) -> Result<Vec<Event>, UpstreamError> {
        let voters = self.memory.lock().voters.clone();
        let ask = |endpoint: E| async move { endpoint.events(contract, topics, from, until).await };
        self.panel.agree(&voters, "a contract's events", ask).await
    }

    async fn call_data(&self, transaction: B256) -> Result<Option<Bytes>, UpstreamError> {
        let voters = self.memory.lock().voters.clone();
        let ask = |endpoint: E| async move { endpoint.call_data(transaction).await };
        self.panel.agree(&voters, "a transaction", ask).await
    }
}

/// The only argument of type `bytes`. It stands where its offset says, which need not be the usual
/// one.
fn bytes(arguments: &[u8]) -> Option<Bytes> {
    let word = |at: usize| {
        let word = arguments.get(at..at.checked_add(32)?)?;
        usize::try_from(number(word.try_into().ok()?)?).ok()
    };
    let offset = word(0)?;
    let (length, start) = (word(offset)?, offset.checked_add(32)?);
    arguments.get(start..start.checked_add(length)?).map(Bytes::copy_from_slice)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{hex, keccak256};

    use super::*;

    #[test]
    fn selectors_and_topics_are_those_of_the_contracts() {
        let selector = |signature: &str| format!("0x{}", hex::encode(&keccak256(signature)[..4]));
        assert_eq!(selector("delayedMessageCount()"), DELAYED_COUNT);
        assert_eq!(selector("batchCount()"), BATCH_COUNT);
        assert_eq!(selector("bridge()"), BRIDGE);
        assert_eq!(keccak256("sendL2MessageFromOrigin(bytes)")[..4], FROM_ORIGIN_CALL);
        let delivered =
            "MessageDelivered(uint256,bytes32,address,uint8,address,bytes32,uint256,uint64)";
        assert_eq!(keccak256(delivered), DELIVERED);
        assert_eq!(keccak256("InboxMessageDelivered(uint256,bytes)"), INBOX);
        assert_eq!(keccak256("InboxMessageDeliveredFromOrigin(uint256)"), FROM_ORIGIN);
    }

    #[test]
    fn only_whole_arguments_are_read() {
        let word = |number: u64| B256::from(U256::from(number)).0;
        let encoded = [&word(32)[..], &word(3), b"abc", &[0; 29]].concat();
        assert_eq!(bytes(&encoded), Some(Bytes::from_static(b"abc")));
        let moved = [&word(70)[..], &[7; 38], &encoded[32..]].concat();
        assert_eq!(bytes(&moved), Some(Bytes::from_static(b"abc")), "another offset");
        for bad in [&encoded[..63], &encoded[..66], &[&word(64)[..], &encoded[32..]].concat()] {
            assert_eq!(bytes(bad), None);
        }
        assert_eq!(bytes(&[&word(u64::MAX)[..], &encoded[32..]].concat()), None);
        let huge = [&word(32)[..], &[0xff; 32]].concat();
        assert_eq!(bytes(&huge), None);
    }

    #[test]
    fn a_block_of_arbitrum_says_its_l1_block_in_its_mix_hash() {
        let mut mix_hash = [0; 32];
        mix_hash[7] = 9;
        mix_hash[14..16].copy_from_slice(&[1, 2]);
        let mut block =
            json!({"number": "0x5", "timestamp": "0x6", "mixHash": B256::from(mix_hash)});
        let l1_number = |block: &serde_json::Value| {
            serde_json::from_value::<Made>(block.clone()).unwrap().l1_number()
        };
        assert_eq!(l1_number(&block), 5);
        block["sendRoot"] = json!(B256::ZERO);
        assert_eq!(l1_number(&block), 0x102);
    }
}
