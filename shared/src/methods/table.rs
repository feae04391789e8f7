//! The method table: the `yes` rows of `data/block-tag-methods.csv`. Tests keep the two in step.

use super::Position;

/// The member of an EIP-1898 object that holds a tag or a number. (The other one is `blockHash`.)
pub(crate) const BLOCK_NUMBER: &str = "blockNumber";

/// The names of all members that the table mentions.
pub(crate) const MEMBERS: [&str; 4] = [BLOCK_NUMBER, "fromBlock", "stateBlockNumber", "toBlock"];

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
    Position::Member { index, name, object: false }
}

/// A tag, a number or an EIP-1898 object as a member of a state context.
const fn context(index: usize, name: &'static str) -> Position {
    Position::Member { index, name, object: true }
}

/// Methods in byte order, each with its positions.
pub(super) const TABLE: &[(&str, &[Position])] = &[
    ("alchemy_getAssetTransfers", &[member(0, "fromBlock"), member(0, "toBlock")]),
    ("alchemy_getTransactionReceipts", &[member(0, "blockNumber")]),
    ("arbdebug_pricingModel", &[tag(0), tag(1)]),
    ("arbdebug_timeoutQueue", &[tag(0)]),
    ("arbdebug_timeoutQueueHistory", &[tag(0), tag(1)]),
    ("arbtrace_block", &[tag(0)]),
    ("arbtrace_call", &[tag(2)]),
    ("arbtrace_callMany", &[tag(1)]),
    ("arbtrace_filter", &[member(0, "fromBlock"), member(0, "toBlock")]),
    ("arbtrace_replayBlockTransactions", &[tag(0)]),
    ("bor_getAuthor", &[block(0)]),
    ("bor_getSigners", &[tag(0)]),
    ("bor_getSnapshot", &[tag(0)]),
    ("bor_getSnapshotProposer", &[block(0)]),
    ("bor_getSnapshotProposerSequence", &[block(0)]),
    ("clique_getSigners", &[tag(0)]),
    ("clique_getSnapshot", &[tag(0)]),
    ("consensus_getReceipts", &[block(0)]),
    ("debug_accountAt", &[block(0)]),
    ("debug_accountInfoAt", &[block(0)]),
    ("debug_accountRange", &[block(0)]),
    ("debug_codeByHash", &[block(1)]),
    ("debug_dumpBlock", &[tag(0)]),
    ("debug_executionWitness", &[block(0)]),
    ("debug_getAccessibleState", &[tag(0), tag(1)]),
    ("debug_getRawBlock", &[block(0)]),
    ("debug_getRawBlockAccessList", &[block(0)]),
    ("debug_getRawHeader", &[block(0)]),
    ("debug_getRawReceipts", &[block(0)]),
    ("debug_getRawTransactions", &[block(0)]),
    ("debug_stateRootWithUpdates", &[block(1)]),
    ("debug_storageRangeAt", &[block(0)]),
    ("debug_traceBlockByNumber", &[tag(0)]),
    ("debug_traceCall", &[block(1)]),
    ("debug_traceCallMany", &[context(1, "blockNumber")]),
    ("debug_traceTransactionByBlockAndIndex", &[tag(0)]),
    ("erigon_blockNumber", &[tag(0)]),
    ("erigon_getBalanceChangesInBlock", &[block(0)]),
    ("erigon_getHeaderByNumber", &[tag(0)]),
    ("erigon_getLatestLogs", &[member(0, "fromBlock"), member(0, "toBlock")]),
    ("erigon_getLogs", &[member(0, "fromBlock"), member(0, "toBlock")]),
    ("eth_call", &[block(1)]),
    ("eth_callBundle", &[member(0, "stateBlockNumber")]),
    ("eth_callMany", &[context(1, "blockNumber")]),
    ("eth_createAccessList", &[block(1)]),
    ("eth_estimateGas", &[block(1)]),
    ("eth_feeHistory", &[tag(1)]),
    ("eth_getAccount", &[block(1)]),
    ("eth_getAccountInfo", &[block(1)]),
    ("eth_getBalance", &[block(1)]),
    ("eth_getBlockAccessList", &[block(0)]),
    ("eth_getBlockAccessListByBlockNumber", &[tag(0)]),
    ("eth_getBlockAccessListRaw", &[block(0)]),
    ("eth_getBlockByNumber", &[tag(0)]),
    ("eth_getBlockReceipts", &[block(0)]),
    ("eth_getBlockTransactionCountByNumber", &[tag(0)]),
    ("eth_getCode", &[block(1)]),
    ("eth_getHeaderByNumber", &[tag(0)]),
    ("eth_getLogs", &[member(0, "fromBlock"), member(0, "toBlock")]),
    ("eth_getMinerDataByBlockNumber", &[tag(0)]),
    ("eth_getMultiProof", &[block(1)]),
    ("eth_getProof", &[block(2)]),
    ("eth_getRawTransactionByBlockNumberAndIndex", &[tag(0)]),
    ("eth_getStorageAt", &[block(2)]),
    ("eth_getStorageValues", &[block(1)]),
    ("eth_getTransactionByBlockNumberAndIndex", &[tag(0)]),
    ("eth_getTransactionCount", &[block(1)]),
    ("eth_getTransactionReceiptsByBlock", &[block(0)]),
    ("eth_getUncleByBlockNumberAndIndex", &[tag(0)]),
    ("eth_getUncleCountByBlockNumber", &[tag(0)]),
    ("eth_newFilter", &[member(0, "fromBlock"), member(0, "toBlock")]),
    ("eth_simulateV1", &[block(1)]),
    ("ibft_getValidatorsByBlockNumber", &[tag(0)]),
    ("linea_getProof", &[tag(2)]),
    ("ots_getBlockDetails", &[tag(0)]),
    ("ots_getBlockTransactions", &[tag(0)]),
    ("ots_getHeaderByNumber", &[tag(0)]),
    ("ots_hasCode", &[block(1)]),
    ("overlay_getLogs", &[member(0, "fromBlock"), member(0, "toBlock")]),
    ("parity_getBlockReceipts", &[block(0)]),
    ("parity_listStorageKeys", &[block(3)]),
    ("proof_call", &[block(1)]),
    ("proof_getProofWithMeta", &[block(2)]),
    ("qbft_getValidatorsByBlockNumber", &[tag(0)]),
    ("reth_getBalanceChangesInBlock", &[block(0)]),
    ("reth_getBlockExecutionOutcome", &[block(0)]),
    ("trace_block", &[block(0)]),
    ("trace_blockOpcodeGas", &[block(0)]),
    ("trace_call", &[block(2)]),
    ("trace_callMany", &[block(1)]),
    ("trace_filter", &[member(0, "fromBlock"), member(0, "toBlock")]),
    ("trace_rawTransaction", &[block(2)]),
    ("trace_replayBlockTransactions", &[block(0)]),
    ("trace_simulateV1", &[block(1)]),
];

/// Methods with an `opt-in` row, in byte order: they take a block, but only on some nodes or with
/// side effects. Their positions are not in the table; the row only keeps them off the default list
/// of excluded methods.
pub(super) const OPT_IN: &[&str] = &[
    "debug_getModifiedAccountsByNumber",
    "debug_standardTraceBadBlockToFile",
    "debug_standardTraceBlockToFile",
    "debug_subscribe",
    "eth_callBundle",
    "eth_queryBlocks",
    "eth_queryLogs",
    "eth_queryTraces",
    "eth_queryTransactions",
    "eth_queryTransfers",
    "eth_subscribe",
    "mev_simBundle",
    "ots_searchTransactionsAfter",
    "ots_searchTransactionsBefore",
    "tenderly_simulateBundle",
    "tenderly_simulateTransaction",
];
