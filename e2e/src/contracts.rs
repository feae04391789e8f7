//! Minimal versions of Espresso's contracts on L1, written by hand: no Solidity compiler is needed.

/// Three words that anybody may set: calldata of exactly 96 bytes sets them and logs
/// `NewState(view number, HotShot height, root)`, the first two indexed; any other call returns
/// them. So `finalizedState()` answers (view number, HotShot height, root).
///
/// ```text
///       if CALLDATASIZE == 96 goto set
///       return SLOAD(0), SLOAD(1), SLOAD(2)
/// set:  SSTORE(0, word 0)  SSTORE(1, word 1)  SSTORE(2, word 2)
///       MSTORE(0, word 2)  LOG3(0, 32, keccak("NewState(…)"), word 0, word 1)
/// ```
pub const LIGHT_CLIENT: &str = "
    36 6060 14 @set 57
    5f54 5f52  600154 602052  600254 604052  6060 5f f3
    :set 5f35 5f55  602035 600155  604035 600255
    604035 5f52  602035 5f35 7fa04a773924505a418564363725f56832f5772e6b8d0dbd6efce724dfe803dae6
    6020 5f a3 00";

/// The BatchAuthenticator's history of batchers: calldata of exactly 32 bytes adds that batcher as
/// of this block, of 64 bytes sets whether the fallback batcher is at work (first word).
///
/// ```text
///       if CALLDATASIZE == 32 goto add
///       if CALLDATASIZE == 64 goto fallback
///       if CALLDATASIZE == 36 goto at
///       if selector == activeIsEspresso() goto active
///       return SLOAD(0)                                  espressoBatcherHistoryLength()
/// active:   return SLOAD(1) == 0
/// at:       slot = 2 * word at 4 + 2                     espressoBatcherAt(uint32)
///           return SLOAD(slot), SLOAD(slot + 1)
/// add:      slot = 2 * SLOAD(0) + 2   SSTORE(0, SLOAD(0) + 1)
///           SSTORE(slot, word 0)  SSTORE(slot + 1, NUMBER)
/// fallback: SSTORE(1, word 0)
/// ```
pub const BATCH_AUTHENTICATOR: &str = "
    36 6020 14 @add 57
    36 6040 14 @fallback 57
    36 6024 14 @at 57
    5f35 60e0 1c 63eca919df 14 @active 57
    5f54 5f52 6020 5f f3
    :active 600154 15 5f52 6020 5f f3
    :at 600435 6001 1b 6002 01  80 54 5f52  6001 01 54 602052  6040 5f f3
    :add 5f54  80 6001 01 5f55  6001 1b 6002 01  5f35 81 55  43 90 6001 01 55  00
    :fallback 5f35 600155 00";

/// The contract for deposits: calldata `recipient, bytes opaqueData` logs
/// `TransactionDeposited(caller, recipient, 0, opaqueData)`.
///
/// ```text
/// CALLDATACOPY(0, 32, CALLDATASIZE - 32)
/// LOG4(0, CALLDATASIZE - 32, keccak("TransactionDeposited(…)"), CALLER, word 0, 0)
/// ```
pub const DEPOSITS: &str = "
    6020 36 03 6020 5f 37
    5f 5f35 33 7fb3813568d9991fc951961fcb4c784893574240a28925604d09fc577c55bb7c32
    6020 36 03 5f a4 00";

/// The deployment code of a runtime in hex, in which `:name` is a jump destination and `@name`
/// pushes it.
///
/// # Panics
/// When the runtime is no such text or longer than 255 bytes.
#[must_use]
pub fn deployment(runtime: &str) -> String {
    let code = code(runtime);
    let code = code.trim_start_matches("0x");
    let length = u8::try_from(code.len() / 2).unwrap();
    // PUSH1 length DUP1 PUSH1 9 PUSH0 CODECOPY PUSH0 RETURN, which is 9 bytes.
    format!("0x60{length:02x}8060095f395ff3{code}")
}

/// The code of a runtime in hex.
#[must_use]
pub fn code(runtime: &str) -> String {
    let length = |token: &str| match token.as_bytes()[0] {
        b':' => 1,
        b'@' => 2,
        _ => token.len() / 2,
    };
    let destination = |name: &str| -> usize {
        let before = runtime.split_whitespace().take_while(|token| *token != format!(":{name}"));
        before.map(length).sum()
    };
    let code: String = runtime
        .split_whitespace()
        .map(|token| match token.split_at(1) {
            (":", _) => "5b".to_owned(),
            ("@", name) => format!("60{:02x}", destination(name)),
            _ => token.to_owned(),
        })
        .collect();
    format!("0x{code}")
}
