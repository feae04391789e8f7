//! The development accounts that send transactions on L2, and the contract that they use.

use alloy_primitives::{Address, address};

/// Sends plain transfers.
pub const SENDER: Address = address!("3c44cdddb6a900fa2b585dd299e03d12fa4293bc");
/// Owns and calls the counter.
pub const CALLER: Address = address!("90f79bf6eb2c4f870365e785982e1f101e93b906");
/// Receives what the others send.
pub const RECEIVER: Address = address!("000000000000000000000000000000000000dead");

/// A contract that counts: any calldata adds one to slot 0 and logs the new value, no calldata
/// returns it.
///
/// ```text
/// CALLDATASIZE ISZERO PUSH1 22 JUMPI
/// SLOAD(0) + 1  DUP1 SSTORE(0)  MSTORE(0)  LOG1(0, 32, topic 1)  STOP
/// JUMPDEST  SLOAD(0) MSTORE(0)  RETURN(0, 32)
/// ```
const COUNTER: &str = "36156016575f54600101805f555f52600160205fa1005b5f545f5260205ff3";

/// The calldata of the caller's first transaction, which deploys the counter.
#[must_use]
pub fn counter_deployment() -> String {
    format!("0x60{:02x}8060095f395ff3{COUNTER}", COUNTER.len() / 2)
}

/// Where the counter is, from block 1 on.
#[must_use]
pub fn counter() -> Address {
    CALLER.create(0)
}
