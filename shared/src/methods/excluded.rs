//! Methods that are excluded from rewriting.

use super::{find_shipped, table::OPT_IN};

/// Methods that are excluded from rewriting: they sign, hash, store or send opaque data, or control
/// the node, so that replacing a string would corrupt something. Configured as `never_methods`.
///
/// The default list holds the methods of `data/block-tag-methods.csv` with a `never` row and no
/// `yes` or `opt-in` row. Names are case-sensitive, as they are for nodes.
///
/// ```
/// use finality_core::methods::ExcludedMethods;
///
/// assert!(ExcludedMethods::default().contains("eth_sendRawTransaction"));
/// assert!(ExcludedMethods::default().contains("engine_newPayloadV4"));
/// assert!(!ExcludedMethods::default().contains("eth_call"));
///
/// let extended = ExcludedMethods::new(true, ["acme_store".to_owned(), "vault_*".to_owned()]);
/// assert!(extended.contains("acme_store") && extended.contains("vault_put"));
///
/// let emptied = ExcludedMethods::new(false, []);
/// assert!(!emptied.contains("eth_sendRawTransaction"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcludedMethods {
    defaults: bool,
    extra: Vec<String>,
}

impl Default for ExcludedMethods {
    fn default() -> Self {
        Self::new(true, [])
    }
}

impl ExcludedMethods {
    /// The methods of `extra`, and those of the default list if `defaults` is set. In `extra`, `*`
    /// matches any sequence of characters.
    #[must_use]
    pub fn new(defaults: bool, extra: impl IntoIterator<Item = String>) -> Self {
        Self { defaults, extra: extra.into_iter().collect() }
    }

    /// Whether the method is excluded.
    #[must_use]
    pub fn contains(&self, method: &str) -> bool {
        (self.defaults && in_defaults(method)) || self.extra_contains(method)
    }

    /// Whether the method is excluded by `extra`.
    pub(crate) fn extra_contains(&self, method: &str) -> bool {
        self.extra.iter().any(|pattern| matches(pattern, method))
    }
}

fn in_defaults(method: &str) -> bool {
    find_shipped(method).is_none()
        && OPT_IN.binary_search(&method).is_err()
        && (NAMES.binary_search(&method).is_ok()
            || PATTERNS.iter().any(|pattern| matches(pattern, method)))
}

/// Whether the name matches the pattern, in which `*` matches any sequence of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    // What follows the last `*`, and where in the name it was tried last.
    let mut tried: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (Some((b'*', rest)), _) => {
                tried = Some((rest, name));
                pattern = rest;
            }
            (Some((wanted, rest)), Some((found, after))) if wanted == found => {
                (pattern, name) = (rest, after);
            }
            (None, None) => return true,
            _ => {
                let Some((rest, [_, after @ ..])) = tried else { return false };
                tried = Some((rest, after));
                (pattern, name) = (rest, after);
            }
        }
    }
}

/// Names in byte order, for the binary search.
const NAMES: &[&str] = &[
    "admin_addPeer",
    "admin_addTrustedPeer",
    "admin_exportChain",
    "admin_importChain",
    "admin_removePeer",
    "admin_startHTTP",
    "admin_startWS",
    "anvil_reset",
    "bor_getRootHash",
    "clique_discard",
    "clique_propose",
    "db_getHex",
    "db_getString",
    "db_putHex",
    "db_putString",
    "debug_backtraceAt",
    "debug_chaindbProperty",
    "debug_dbAncient",
    "debug_dbGet",
    "debug_getConfigValue",
    "debug_insertReceipts",
    "debug_preimage",
    "debug_printBlock",
    "debug_seedHash",
    "debug_setHead",
    "debug_setTrieFlushInterval",
    "debug_startCPUProfile",
    "debug_startGoTrace",
    "debug_traceTransaction",
    "debug_verbosity",
    "debug_vmodule",
    "debug_writeBlockProfile",
    "debug_writeMemProfile",
    "debug_writeMutexProfile",
    "eth_compileLLL",
    "eth_compileSerpent",
    "eth_compileSolidity",
    "eth_estimateUserOperationGas",
    "eth_getBlockByHash",
    "eth_getFilterChanges",
    "eth_getFilterLogs",
    "eth_getRootHash",
    "eth_getTransactionByHash",
    "eth_getTransactionReceipt",
    "eth_sendBundle",
    "eth_sendPrivateRawTransaction",
    "eth_sendPrivateTransaction",
    "eth_sendRawTransaction",
    "eth_sendRawTransactionConditional",
    "eth_sendRawTransactionSync",
    "eth_sendTransaction",
    "eth_sendUserOperation",
    "eth_sign",
    "eth_signTransaction",
    "eth_signTypedData",
    "eth_signTypedData_v3",
    "eth_signTypedData_v4",
    "eth_submitHashrate",
    "eth_submitWork",
    "eth_uninstallFilter",
    "eth_unsubscribe",
    "hardhat_reset",
    "mev_sendBundle",
    "miner_setEtherbase",
    "miner_setExtra",
    "miner_setGasPrice",
    "miner_setMaxDASize",
    "optimism_outputAtBlock",
    "optimism_safeHeadAtL1Block",
    "parity_setExtraData",
    "personal_ecRecover",
    "personal_importRawKey",
    "personal_newAccount",
    "personal_sendTransaction",
    "personal_sign",
    "personal_signTransaction",
    "personal_unlockAccount",
    "qn_broadcastRawTransaction",
    "reth_jit",
    "rpc_modules",
    "txpool_contentFrom",
    "wallet_addEthereumChain",
    "wallet_sendCalls",
    "wallet_switchEthereumChain",
    "wallet_watchAsset",
    "web3_clientVersion",
    "web3_sha3",
    "zks_getBlockDetails",
    "zks_getL1BatchDetails",
    "zks_getProof",
];

/// Patterns; methods with a `yes` or `opt-in` row are exempt.
const PATTERNS: &[&str] = &[
    "*ByBlockHash*",
    "bzz_*",
    "debug_standardTrace*ToFile",
    "debug_traceBlock*",
    "engine_*",
    "engine_forkchoiceUpdated*",
    "engine_newPayload*",
    "ibft_propose*",
    "net_*",
    "pm_*",
    "shh_*",
    "trace_replay*",
    "txpool_besu*",
];

/// The names and patterns of the default list.
#[cfg(test)]
pub(super) fn default_names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().chain(PATTERNS).copied()
}

#[cfg(test)]
mod tests {
    use super::{
        super::table::{self, TABLE},
        *,
    };

    #[test]
    fn lists_are_sorted_for_binary_search() {
        assert!(NAMES.is_sorted());
        assert!(OPT_IN.is_sorted());
        assert!(TABLE.is_sorted_by_key(|(name, ..)| name));
        assert!(table::NAMES.is_sorted());
    }

    #[test]
    fn a_star_matches_any_sequence() {
        for (pattern, name, expected) in [
            ("a_b", "a_b", true),
            ("a_b", "a_bc", false),
            ("a_*", "a_", true),
            ("a_*", "b_a_", false),
            ("*Hash*", "getByHashNow", true),
            ("*Hash*", "Hash", true),
            ("*Hash*", "hash", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_spare_methods_that_take_a_block() {
        let list = ExcludedMethods::default();
        for method in ["debug_traceBlock", "debug_traceBlockByHash", "trace_replayTransaction"] {
            assert!(list.contains(method), "{method}");
        }
        for method in [
            "debug_traceBlockByNumber",
            "trace_replayBlockTransactions",
            "debug_standardTraceBlockToFile",
            "eth_subscribe",
            "",
        ] {
            assert!(!list.contains(method), "{method}");
        }
        let extended = ExcludedMethods::new(true, ["eth_call".to_owned()]);
        assert!(extended.contains("eth_call"), "the operator's list overrides the table");
    }
}
