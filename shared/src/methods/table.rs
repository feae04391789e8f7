//! The method table: the `yes` rows of `data/block-tag-methods.csv`. Tests keep the two in step.

use std::borrow::Cow;

use super::Position;

/// The member of an EIP-1898 object that holds a tag or a number. (The other one is `blockHash`.)
pub(crate) const BLOCK_NUMBER: &str = "blockNumber";

/// The names of all members that the table mentions.
pub(super) const MEMBERS: [&str; 5] =
    [BLOCK_NUMBER, "fromBlock", "parentBlock", "stateBlockNumber", "toBlock"];

/// The names of all parameters that the table mentions, in byte order.
pub(super) const NAMES: [&str; 44] = [
    "address",
    "block",
    "block_count",
    "block_hash",
    "block_id",
    "block_number",
    "block_overrides",
    "bundles",
    "call",
    "calls",
    "contract_address",
    "count",
    "data",
    "end_inclusive",
    "filter",
    "from",
    "full",
    "hash",
    "hashed_state",
    "incompletes",
    "index",
    "key_start",
    "keys",
    "kind",
    "max_result",
    "max_results",
    "newest_block",
    "nocode",
    "nostorage",
    "number",
    "opts",
    "page_number",
    "page_size",
    "params",
    "request",
    "reward_percentiles",
    "start",
    "start_exclusive",
    "state_context",
    "state_override",
    "state_overrides",
    "to",
    "trace_types",
    "tx_idx",
];

/// A tag or a number, not an object.
const fn tag(index: usize) -> Position {
    Position::Parameter { index, object: false }
}

/// A tag, a number, or an EIP-1898 object.
const fn block(index: usize) -> Position {
    Position::Parameter { index, object: true }
}

/// A tag or a number as a member of an object.
const fn member(index: usize, name: &'static str) -> Position {
    Position::Member { index, name: Cow::Borrowed(name), object: false }
}

/// A tag, a number or an EIP-1898 object as a member of a state context.
const fn context(index: usize, name: &'static str) -> Position {
    Position::Member { index, name: Cow::Borrowed(name), object: true }
}

/// Methods in byte order, each with its positions and the names of its parameters in order, as far
/// as they are known: see `data/parameter-names.csv`.
pub(super) const TABLE: &[(&str, &[Position], &str)] = &[
    ("alchemy_getAssetTransfers", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("alchemy_getTransactionReceipts", &[member(0, "blockNumber")], ""),
    ("arbdebug_pricingModel", &[tag(0), tag(1)], ""),
    ("arbdebug_timeoutQueue", &[tag(0)], ""),
    ("arbdebug_timeoutQueueHistory", &[tag(0), tag(1)], ""),
    ("arbtrace_block", &[tag(0)], ""),
    ("arbtrace_call", &[tag(2)], ""),
    ("arbtrace_callMany", &[tag(1)], ""),
    ("arbtrace_filter", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("arbtrace_replayBlockTransactions", &[tag(0)], ""),
    ("bor_getAuthor", &[block(0)], ""),
    ("bor_getSigners", &[tag(0)], ""),
    ("bor_getSnapshot", &[tag(0)], ""),
    ("bor_getSnapshotProposer", &[block(0)], ""),
    ("bor_getSnapshotProposerSequence", &[block(0)], ""),
    ("clique_getSigners", &[tag(0)], ""),
    ("clique_getSnapshot", &[tag(0)], ""),
    ("consensus_getReceipts", &[block(0)], ""),
    ("debug_accountAt", &[block(0)], ""),
    ("debug_accountInfoAt", &[block(0)], ""),
    (
        "debug_accountRange",
        &[block(0)],
        "block_number start max_results nocode nostorage incompletes",
    ),
    ("debug_codeByHash", &[block(1)], "hash block_id"),
    ("debug_dumpBlock", &[tag(0)], "number"),
    ("debug_executionWitness", &[block(0)], "block"),
    ("debug_getAccessibleState", &[tag(0), tag(1)], "from to"),
    ("debug_getBlockAccessList", &[block(0)], "block_id"),
    ("debug_getRawBlock", &[block(0)], "block_id"),
    ("debug_getRawBlockAccessList", &[block(0)], ""),
    ("debug_getRawHeader", &[block(0)], "block_id"),
    ("debug_getRawReceipts", &[block(0)], "block_id"),
    ("debug_getRawTransactions", &[block(0)], "block_id"),
    ("debug_standardTraceBadBlockToFile", &[tag(0)], "block opts"),
    ("debug_standardTraceBlockToFile", &[tag(0)], "block opts"),
    ("debug_stateRootWithUpdates", &[block(1)], "hashed_state block_id"),
    (
        "debug_storageRangeAt",
        &[block(0)],
        "block_hash tx_idx contract_address key_start max_result",
    ),
    ("debug_subscribe", &[tag(1), tag(2)], ""),
    ("debug_traceBlockByNumber", &[tag(0)], "block opts"),
    ("debug_traceCall", &[block(1)], "request block_id opts"),
    ("debug_traceCallMany", &[context(1, "blockNumber")], "bundles state_context opts"),
    ("debug_traceChain", &[tag(0), tag(1)], "start_exclusive end_inclusive"),
    ("debug_traceTransactionByBlockAndIndex", &[tag(0)], ""),
    ("erigon_blockNumber", &[tag(0)], ""),
    ("erigon_getBalanceChangesInBlock", &[block(0)], ""),
    ("erigon_getHeaderByNumber", &[tag(0)], "block_number"),
    ("erigon_getLatestLogs", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("erigon_getLogs", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("erigon_getLogsByNumber", &[tag(0)], ""),
    ("eth_call", &[block(1)], "request block_number state_overrides block_overrides"),
    ("eth_callBundle", &[member(0, "stateBlockNumber"), block(1)], "request"),
    ("eth_callMany", &[context(1, "blockNumber")], "bundles state_context state_override"),
    ("eth_createAccessList", &[block(1)], "request block_number state_override"),
    ("eth_estimateGas", &[block(1)], "request block_number state_override"),
    ("eth_feeHistory", &[tag(1)], "block_count newest_block reward_percentiles"),
    ("eth_getAccount", &[block(1)], "address block"),
    ("eth_getAccountInfo", &[block(1)], "address block"),
    ("eth_getBalance", &[block(1)], "address block_number"),
    ("eth_getBlobSidecars", &[block(0)], ""),
    ("eth_getBlockAccessList", &[block(0)], ""),
    ("eth_getBlockAccessListByBlockNumber", &[tag(0)], ""),
    ("eth_getBlockAccessListRaw", &[block(0)], ""),
    ("eth_getBlockByNumber", &[tag(0)], "number full"),
    ("eth_getBlockReceipts", &[block(0)], "block_id"),
    ("eth_getBlockTransactionCountByNumber", &[tag(0)], "number"),
    ("eth_getCode", &[block(1)], "address block_number"),
    ("eth_getHeaderByNumber", &[tag(0)], "hash"),
    ("eth_getLogs", &[member(0, "fromBlock"), member(0, "toBlock")], "filter"),
    ("eth_getMinerDataByBlockNumber", &[tag(0)], ""),
    ("eth_getMultiProof", &[block(1)], ""),
    ("eth_getProof", &[block(2)], "address keys block_number"),
    ("eth_getRawTransactionByBlockNumberAndIndex", &[tag(0)], "number index"),
    ("eth_getStorageAt", &[block(2)], "address index block_number"),
    ("eth_getStorageValues", &[block(1)], ""),
    ("eth_getTransactionByBlockNumberAndIndex", &[tag(0)], "number index"),
    ("eth_getTransactionCount", &[block(1)], "address block_number"),
    ("eth_getTransactionReceiptsByBlock", &[block(0)], ""),
    ("eth_getUncleByBlockNumberAndIndex", &[tag(0)], "number index"),
    ("eth_getUncleCountByBlockNumber", &[tag(0)], "number"),
    ("eth_newFilter", &[member(0, "fromBlock"), member(0, "toBlock")], "filter"),
    ("eth_queryBlocks", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("eth_queryLogs", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("eth_queryTraces", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("eth_queryTransactions", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("eth_queryTransfers", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("eth_simulateV1", &[block(1)], "opts block_number"),
    ("eth_subscribe", &[member(1, "fromBlock"), member(1, "toBlock")], "kind params"),
    ("ibft_getValidatorsByBlockNumber", &[tag(0)], ""),
    ("linea_getProof", &[tag(2)], ""),
    ("mev_simBundle", &[context(1, "parentBlock")], ""),
    ("ots_getBlockDetails", &[tag(0)], "block_number"),
    ("ots_getBlockTransactions", &[tag(0)], "block_number page_number page_size"),
    ("ots_getHeaderByNumber", &[tag(0)], "block_number"),
    ("ots_hasCode", &[block(1)], "address block_number"),
    ("ots_searchTransactionsAfter", &[tag(1)], "address block_number page_size"),
    ("ots_searchTransactionsBefore", &[tag(1)], "address block_number page_size"),
    ("overlay_getLogs", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("parity_getBlockReceipts", &[block(0)], ""),
    ("parity_listStorageKeys", &[block(3)], ""),
    ("proof_call", &[block(1)], ""),
    ("proof_getProofWithMeta", &[block(2)], ""),
    ("qbft_getValidatorsByBlockNumber", &[tag(0)], ""),
    ("qn_getBlockWithReceipts", &[tag(0)], ""),
    ("qn_getReceipts", &[tag(0)], ""),
    ("qn_getWalletTokenTransactions", &[member(0, "fromBlock"), member(0, "toBlock")], ""),
    ("reth_getBalanceChangesInBlock", &[block(0)], "block_id"),
    ("reth_getBlockExecutionOutcome", &[block(0)], "block_id count"),
    ("tenderly_estimateGas", &[tag(1)], ""),
    ("tenderly_estimateGasBundle", &[tag(1)], ""),
    ("tenderly_simulateBundle", &[tag(1)], ""),
    ("tenderly_simulateTransaction", &[tag(1)], ""),
    ("trace_block", &[block(0)], "block_id"),
    ("trace_blockOpcodeGas", &[block(0)], ""),
    ("trace_call", &[block(2)], "call trace_types block_id state_overrides block_overrides"),
    ("trace_callMany", &[block(1)], "calls block_id"),
    ("trace_filter", &[member(0, "fromBlock"), member(0, "toBlock")], "filter"),
    ("trace_rawTransaction", &[block(2)], "data trace_types block_id"),
    ("trace_replayBlockTransactions", &[block(0)], "block_id trace_types"),
    ("trace_simulateV1", &[block(1)], ""),
];

/// Methods with an `opt-in` row, in byte order: they take a block, but only on some nodes or with
/// side effects. Their positions are not in the table; the row only keeps them off the default list
/// of excluded methods.
pub(super) const OPT_IN: &[&str] = &["debug_getModifiedAccountsByNumber"];
