//! NodeInterface: what no contract has, but only nodes tell.

use alloy_primitives::{Address, Bytes, U256, address};

use super::NitroBlock;
use crate::{rollup::NodeSource, upstream::UpstreamError};

const NODE_INTERFACE: Address = address!("00000000000000000000000000000000000000c8");
/// `findBatchContainingBlock(uint64)`.
const FIND_BATCH: [u8; 4] = [0x81, 0xf1, 0xad, 0xaf];
/// `nitroGenesisBlock()`.
const GENESIS_BLOCK: [u8; 4] = [0x93, 0xa2, 0xfe, 0x21];
/// What the error of a call is that was executed, and reverted.
const REVERTED: i64 = 3;

/// The batch that has a block.
///
/// # Errors
/// [`UpstreamError`], also if the node has no such batch, or no NodeInterface.
pub(super) async fn batch_of(
    number: u64,
    node: &impl NodeSource<NitroBlock>,
) -> Result<u64, UpstreamError> {
    let argument = U256::from(number).to_be_bytes::<32>();
    integer(&node.view(NODE_INTERFACE, FIND_BATCH.into_iter().chain(argument).collect()).await?)
}

/// The number of the first block, by the node's configuration of the chain; none if the node has no
/// such method.
///
/// # Errors
/// [`UpstreamError`].
pub async fn genesis_block(
    node: &impl NodeSource<NitroBlock>,
) -> Result<Option<u64>, UpstreamError> {
    match node.view(NODE_INTERFACE, GENESIS_BLOCK.into()).await {
        Ok(answer) if answer.is_empty() => Ok(None),
        Ok(answer) => integer(&answer).map(Some),
        Err(UpstreamError::Rpc { code, message })
            if code == REVERTED || message.contains("revert") =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// An integer of 64 bits, as a contract returns it.
fn integer(answer: &Bytes) -> Result<u64, UpstreamError> {
    let word = U256::try_from_be_slice(answer).filter(|_| answer.len() == U256::BYTES);
    let number = word.and_then(|word| word.try_into().ok());
    number.ok_or_else(|| UpstreamError::Malformed(format!("{answer} is no integer of 64 bits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selectors_are_those_of_node_interface() {
        for (signature, selector) in [
            ("findBatchContainingBlock(uint64)", FIND_BATCH),
            ("nitroGenesisBlock()", GENESIS_BLOCK),
        ] {
            let hash = alloy_primitives::keccak256(signature);
            assert_eq!(hash[..4], selector, "{signature}");
        }
    }
}
