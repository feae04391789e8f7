//! The table of settings: every name, meaning and default in one place.

/// One setting. Its name is spelt `listen_addr` in the file, `--listen-addr` as a flag and
/// `FINALITY_LISTEN_ADDR` in the environment.
#[derive(Debug)]
pub struct Setting {
    /// The name, as in the file.
    pub name: &'static str,
    /// The value without any source; none means required or optional, see [`Setting::required`].
    pub default: Option<&'static str>,
    /// Whether `run` cannot do without it.
    pub required: bool,
    /// Whether the value may hold a secret: shown masked, and may be a reference (`env:NAME`,
    /// `file:/path`).
    pub secret: bool,
    /// Whether it holds several values, separated by commas.
    pub list: bool,
    /// What it is, with its unit.
    pub help: &'static str,
}

impl Setting {
    const fn optional(name: &'static str, help: &'static str) -> Self {
        Self { name, default: None, required: false, secret: false, list: false, help }
    }

    const fn with_default(name: &'static str, default: &'static str, help: &'static str) -> Self {
        let mut setting = Self::optional(name, help);
        setting.default = Some(default);
        setting
    }

    const fn url(name: &'static str, help: &'static str) -> Self {
        let mut setting = Self::optional(name, help);
        setting.required = true;
        setting.secret = true;
        setting
    }

    const fn urls(name: &'static str, help: &'static str) -> Self {
        let mut setting = Self::url(name, help);
        setting.list = true;
        setting
    }

    const fn optional_list(name: &'static str, help: &'static str) -> Self {
        let mut setting = Self::optional(name, help);
        setting.list = true;
        setting
    }

    /// The flag without its dashes, for instance `listen-addr`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable, for instance `FINALITY_LISTEN_ADDR`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("FINALITY_{}", self.name.to_uppercase())
    }

    /// The setting of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

/// Every setting, in the order of help and of `print-config`.
pub const SETTINGS: &[Setting] = &[
    Setting::with_default("listen_addr", "127.0.0.1:8090", "Address and port of the HTTP API"),
    Setting::urls(
        "node_execution_rpc",
        "URLs of the full node's execution RPC; a later one is asked when those before fail",
    ),
    Setting::urls(
        "node_consensus_rpc",
        "URLs of the full node's consensus RPC (op-node); a later one is asked when those before fail",
    ),
    Setting::urls(
        "l1_rpc",
        "URLs of L1 execution RPCs; a later one is asked when those before fail, and one that lags or \
         contradicts a final block is not used",
    ),
    Setting::urls(
        "query_service_url",
        "URLs of HotShot query services with their version, such as https://host/v1, of which a majority must agree; a \
         single one is trusted",
    ),
    Setting::optional(
        "light_client_address",
        "Address of the light client contract on L1, which tells where reading HotShot begins",
    ),
    Setting::optional(
        "batch_authenticator_address",
        "Address of the BatchAuthenticator contract on L1, which tells who may sign batches, if it is not \
         the one that the rollup's configuration names",
    ),
    Setting::optional_list(
        "batcher_addresses",
        "Addresses that may sign batches, instead of the contract; ADDRESS@FIRST..END limits one to \
         batches with an L1 origin from FIRST to before END, either of which may be left out; one that is added \
         later needs its range, so that its first batches are found",
    ),
    Setting::optional(
        "namespace",
        "Espresso namespace of the rollup, if it is not the L2 chain id",
    ),
    Setting::optional(
        "initial_hotshot_height",
        "HotShot height at which reading begins when neither the store nor the light client tells",
    ),
    Setting::with_default("store_path", "finality-store.json", "The state file"),
    Setting::with_default(
        "verification_interval",
        "1s",
        "Pause between two rounds of the verifier when nothing is left to do",
    ),
    Setting::with_default("request_timeout", "10s", "Limit of one request to a dependency"),
    Setting::with_default("long_poll_limit", "30s", "Longest wait that /v1/head grants"),
    Setting::with_default(
        "shutdown_delay",
        "0s",
        "Time at shutdown in which everything is still served while /readyz already fails",
    ),
    Setting::with_default(
        "shutdown_limit",
        "10s",
        "Limit at shutdown for finishing what is in flight",
    ),
    Setting::optional(
        "ready_max_age",
        "Age of the head above which /readyz fails; without it age does not matter",
    ),
    Setting::with_default("max_connections", "4096", "Connections that the HTTP API holds at once"),
    Setting::with_default(
        "log_level",
        "info",
        "off, error, warn, info, debug or trace; or several of the form target=level",
    ),
    Setting::with_default("log_format", "auto", "text, json, or auto: text on a terminal"),
];
