//! The contracts of a Nitro chain on its parent chain, as far as they are read, written by hand.

use alloy_primitives::{Address, B256, address, hex, keccak256};

/// The bridge, which numbers delayed messages.
pub const BRIDGE: Address = address!("00000000000000000000000000000000b419d6e0");
/// The inbox, through which users send messages.
pub const INBOX: Address = address!("00000000000000000000000000000000001b0c50");
/// The inbox of the sequencer's batches, which counts them.
pub const SEQUENCER_INBOX: Address = address!("000000000000000000000000000000005e91b0c5");

/// `MessageDelivered`: index and accumulator are indexed; inbox, kind, sender, hash of the data,
/// base fee and time follow.
#[must_use]
pub fn message_delivered() -> B256 {
    keccak256("MessageDelivered(uint256,bytes32,address,uint8,address,bytes32,uint256,uint64)")
}

/// `InboxMessageDelivered`: the index is indexed, the data follows.
#[must_use]
pub fn inbox_message_delivered() -> B256 {
    keccak256("InboxMessageDelivered(uint256,bytes)")
}

/// `InboxMessageDeliveredFromOrigin`: the index is indexed; the data is in the transaction.
#[must_use]
pub fn inbox_message_delivered_from_origin() -> B256 {
    keccak256("InboxMessageDeliveredFromOrigin(uint256)")
}

/// The selector of `sendL2MessageFromOrigin(bytes)`.
#[must_use]
pub fn send_from_origin() -> [u8; 4] {
    selector("sendL2MessageFromOrigin(bytes)")
}

/// The selector of a function.
#[must_use]
pub fn selector(signature: &str) -> [u8; 4] {
    keccak256(signature)[..4].try_into().unwrap()
}

/// The bridge: a call with a selector alone answers `delayedMessageCount()`; any other one is from
/// an inbox and has three words, kind, sender and hash of the data. It is logged and numbered.
/// Nobody reads the accumulator.
///
/// ```text
///        if CALLDATASIZE == 4 goto count
///        memory = CALLER, kind, sender, hash, BASEFEE, TIMESTAMP    index = SLOAD(0)++
///        LOG3(memory, keccak("MessageDelivered(…)"), index, 0)
///        return index
/// count: return SLOAD(0)
/// ```
#[must_use]
pub fn bridge() -> String {
    let delivered = hex::encode(message_delivered());
    format!(
        "36 6004 14 @count 57
         33 5f52  6060 5f 6020 37  48 6080 52  42 60a0 52
         5f54  80 6001 01 5f55
         5f 81 7f{delivered} 60c0 5f a3
         5f52 6020 5f f3
         :count 5f54 5f52 6020 5f f3"
    )
}

/// An inbox: `bridge()` answers the bridge, a call with any other selector alone a counter, such as
/// `batchCount()`, and one with one word sets it. `sendL2MessageFromOrigin(bytes)` delivers an L2
/// message of its sender. Any other call is a devnet's own: three words for the bridge, and the
/// data as the event has it.
///
/// ```text
///         if CALLDATASIZE == 4 goto count
///         if CALLDATASIZE == 32 goto set
///         if selector == sendL2MessageFromOrigin(bytes) goto origin
///         memory = words 0 to 2     index = CALL(bridge, memory)
///         LOG2(the rest, keccak("InboxMessageDelivered(…)"), index)
/// count:  if selector == bridge() return bridge
///         return SLOAD(0)
/// set:    SSTORE(0, word 0)
/// origin: memory = 3, CALLER, keccak(data)     index = CALL(bridge, memory)
///         LOG2(nothing, keccak("InboxMessageDeliveredFromOrigin(…)"), index)
/// ```
#[must_use]
pub fn inbox() -> String {
    let origin = hex::encode(send_from_origin());
    let delivered = hex::encode(inbox_message_delivered());
    let from_origin = hex::encode(inbox_message_delivered_from_origin());
    let (named, bridge) = (hex::encode(selector("bridge()")), hex::encode(BRIDGE));
    let call = format!("6020 5f 6060 5f 5f 73{bridge} 5a f1 50 5f51");
    format!(
        "36 6004 14 @count 57
         36 6020 14 @set 57
         5f35 60e0 1c 63{origin} 14 @origin 57
         6060 5f 5f 37 {call}
         6060 36 03  80 6060 5f 37  7f{delivered} 90 5f a2 00
         :count 5f35 60e0 1c 63{named} 14 @bridge 57 5f54 5f52 6020 5f f3
         :bridge 73{bridge} 5f52 6020 5f f3
         :set 5f35 5f55 00
         :origin 6024 35  80 6044 5f 37  5f 20  6040 52  6003 5f52  33 6020 52 {call}
         7f{from_origin} 5f 5f a2 00"
    )
}
