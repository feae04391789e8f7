//! What every key of the configuration means, for documents. The module contains only the names.

/// A key of the configuration, as documents describe it in Markdown.
#[derive(Debug)]
pub struct Key {
    /// The name.
    pub name: &'static str,
    /// The value without the key: JSON as code, or words.
    pub default: &'static str,
    /// Its meaning.
    pub meaning: &'static str,
}

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, default, meaning }
}

/// Every key, in the order of documents and messages.
pub const KEYS: [Key; 23] = [
    key("sidecar_cluster", "required", "the Envoy cluster of the sidecar"),
    key("sidecar_authority", "`sidecar_cluster`", "the `:authority` of requests to it"),
    key("chain_id", "none", "the L2 chain; a head of another chain is rejected"),
    key(
        "cache_key",
        "`\"default\"`",
        "name of the head shared by all workers; a new name starts without a head",
    ),
    key(
        "mode",
        "`\"replace\"`",
        "`observe`: nothing is replaced or refused; a response header says what would have become of the tags. See \
         [observing](filter.md#observing-first)",
    ),
    key("tags", "`[\"espresso\"]`", "the strings that are replaced, in upper or lower case"),
    key(
        "scope",
        "`\"params\"`",
        "`params`: anywhere inside `params`, in every method that is not excluded; `block-parameters`: only block \
         parameters, by the method table. Recommended when `finalized` is a tag",
    ),
    key(
        "never_methods",
        "`{\"defaults\": true, \"extra\": []}`",
        "methods excluded from rewriting: signing, hashing, administration; `*` in `extra` matches any characters",
    ),
    key(
        "block_parameters",
        "`{}`",
        "rows added to the method table for `scope: block-parameters`, by method: `{\"my_method\": [1, \
         \"0.fromBlock\"]}` names the second parameter and a member of the first",
    ),
    key("max_batch_length", "`1000`", "the longest batch that may contain a tag"),
    key("max_depth", "`128`", "the deepest nesting of a body that may contain a tag"),
    key(
        "max_held_bytes",
        "`262144`",
        "the most bytes between a tag and its `method` in a body that is rewritten while it passes",
    ),
    key(
        "framing",
        "`\"chunked\"`",
        "`exact`: the rewritten request has a content-length; needs `allow_on_headers_stop_iteration: true`. \
         `chunked`: works anywhere",
    ),
    key("content_encoding", "`\"refuse\"`", "`pass`: encoded bodies pass uninspected"),
    key(
        "max_body_bytes",
        "none, or `1000000`",
        "the longest body. None with `framing: chunked` and `freshness: cached`, where bodies above 64 KiB are \
         rewritten while they pass; elsewhere bodies are held, and it must stay below the listener's buffer limit \
         (1 MiB)",
    ),
    key(
        "freshness",
        "`\"cached\"`",
        "`strict`: the sidecar is asked for each body with a tag, so that several Envoys agree at once; without its \
         answer the body is refused. See [freshness](freshness.md)",
    ),
    key("freshness_timeout", "`\"2s\"`", "how long such a body waits for that answer"),
    key(
        "max_contact_age",
        "`\"5m\"`",
        "how long a head is used after the sidecar's last report; `\"0s\"`: no limit",
    ),
    key(
        "poll_tick",
        "`\"1s\"`",
        "time between two checks of whether a poll is due; counters are flushed to Envoy as often",
    ),
    key(
        "long_poll",
        "`\"25s\"`",
        "how long the sidecar may hold a poll open until the head changes",
    ),
    key("poll_timeout", "`long_poll` + 5 s", "when a poll counts as failed"),
    key("poll_backoff_max", "`\"30s\"`", "the longest pause after failed polls"),
    key(
        "head_header",
        "`\"x-finality-head\"`",
        "response header with the number that the tags became; `\"\"`: off",
    ),
];

/// The names alone, computed at compile time, so that the module does not contain the rest.
#[allow(clippy::indexing_slicing, reason = "a mistake fails the compilation")]
pub(super) const NAMES: [&str; KEYS.len()] = {
    let mut names = [""; KEYS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = KEYS[index].name;
        index += 1;
    }
    names
};
