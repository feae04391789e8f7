//! Every setting: its name, form, default and help text, and its member of [`Config`].

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use alloy_primitives::Address;

use super::{HotshotProofs, NitroRequire, RollupKind, parse};
use crate::{
    batchers::BatcherTenure,
    redact::SecretUrl,
    store::{engine::Quorum, etcd::EtcdLocation},
    telemetry::log::Format,
};

/// One setting. Its name is spelled `listen_addr` in the file, `--listen-addr` as a flag and
/// `FINALITY_LISTEN_ADDR` in the environment.
#[derive(Debug)]
pub struct Setting {
    /// The name, as in the file.
    pub name: &'static str,
    /// The heading of its flag in `--help`.
    pub group: &'static str,
    /// The value if no source has one; none means required or optional, see [`Setting::required`].
    pub default: Option<&'static str>,
    /// Whether `run` needs a value.
    pub required: bool,
    /// The form of the value.
    pub form: Form,
    /// What it is, with its unit.
    pub help: &'static str,
}

/// The form of a value.
#[derive(Debug)]
pub struct Form {
    /// How `--help` shows it.
    pub name: &'static str,
    /// Whether it holds several values, separated by commas.
    pub list: bool,
    /// Whether it may hold a secret: it is masked when shown, and may be a reference (`env:NAME`,
    /// `file:/path`).
    pub secret: bool,
}

const URLS: Form = Form { name: "URL,URL", list: true, secret: true };
const ETCD: Form = Form { name: "ETCD", list: false, secret: true };
const ADDRESSES: Form = Form { name: "ADDRESS,ADDRESS", list: true, secret: false };
const HOSTS: Form = Form { name: "HOST,HOST", list: true, secret: false };
const ADDRESS: Form = plain("ADDRESS");
const DURATION: Form = plain("DURATION");
const HEIGHT: Form = plain("HEIGHT");
const NUMBER: Form = plain("NUMBER");

const fn plain(name: &'static str) -> Form {
    Form { name, list: false, secret: false }
}

impl Setting {
    /// The flag without its dashes, such as `listen-addr`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable, such as `FINALITY_LISTEN_ADDR`.
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

/// Where [`Config`] gets its values from, by their names.
pub(super) trait ReadValue {
    /// A value that must be there.
    fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T>;
    /// A value that may be missing.
    fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T>;
}

/// Makes [`SETTINGS`] and [`Config`] from one table: help text, name, type, `required`, `optional`
/// or the default, form, and the function that parses the text.
macro_rules! settings {
    ($($group:literal { $(
        $(#[doc = $help:literal])+
        $name:ident: $type:ty = $presence:tt, $form:expr, $parse:path;
    )+ })+) => {
        /// Every setting, in the order of `--help` and `print-config`.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            name: stringify!($name),
            group: $group,
            default: settings!(@default $presence),
            required: settings!(@required $presence),
            form: $form,
            help: concat!($($help),+).trim_ascii_start(),
        },)+)+];

        /// The effective settings of `run`.
        #[derive(Debug, Clone)]
        #[allow(rustdoc::bare_urls, reason = "the help text is plain text")]
        pub struct Config {
            $($($(#[doc = $help])+ pub $name: $type,)+)+
        }

        impl Config {
            /// Parses every value, even after one that is wrong, so that all problems are known.
            pub(super) fn read(reader: &mut impl ReadValue) -> Option<Self> {
                $($(let $name = settings!(@read $presence, reader, stringify!($name), $parse);)+)+
                Some(Self { $($($name: $name?,)+)+ })
            }
        }
    };
    (@default required) => { None };
    (@default optional) => { None };
    (@default $text:literal) => { Some($text) };
    (@required required) => { true };
    (@required $other:tt) => { false };
    (@read optional, $reader:ident, $name:expr, $parse:path) => {
        Some($reader.optional($name, $parse))
    };
    (@read $other:tt, $reader:ident, $name:expr, $parse:path) => { $reader.value($name, $parse) };
}

settings! {
    "Node" {
        /// Kind of the rollup: op (the OP Stack) or nitro (Arbitrum Nitro)
        rollup: RollupKind = "op", plain("KIND"), parse::rollup;
        /// URLs of the full node's execution RPC; the one with the most blocks is read, the first
        /// of equals; tags are refused while any of them has another block at the head
        node_execution_rpc: Vec<SecretUrl> = required, URLS, parse::urls;
        /// URLs of further execution RPCs to which Envoy sends no requests: they may have another
        /// block at the head, and are then not read
        node_unrouted_rpc: Option<Vec<SecretUrl>> = optional, URLS, parse::urls;
        /// WebSocket URLs of the full node (ws:// or wss://), which tell of new blocks, if the URLs
        /// of node_execution_rpc take no WebSocket
        node_execution_ws: Option<Vec<SecretUrl>> = optional, URLS, parse::sockets;
        /// URLs of the full node's consensus RPC (op-node), tried in order; later URLs are
        /// fallbacks; required for the OP Stack, of no use for Nitro
        node_consensus_rpc: Option<Vec<SecretUrl>> = optional, URLS, parse::urls;
        /// true: trust the finalized block of node and op-node without proof that L1 has finalized
        /// it; after execution-layer sync, they call their unsafe tip finalized
        trust_node_finalized: bool = "false", plain("BOOLEAN"), parse::boolean;
    }
    "Espresso" {
        /// URLs of HotShot query services with their version, such as https://host/v1; responses
        /// must agree by majority, and a single service is trusted
        query_service_url: Vec<SecretUrl> = required, URLS, parse::voters;
        /// What is proven of the answers of query services: off (nothing, a majority is believed),
        /// payload (the namespace in each block, under the header that a majority returns; compared
        /// with the light client afterwards) or root (all, under the light client's root; the head
        /// waits for it)
        hotshot_proofs: HotshotProofs = "payload", plain("MODE"), parse::hotshot_proofs;
        /// Espresso namespace of the rollup, if it is not the L2 chain ID
        namespace: Option<u32> = optional, NUMBER, parse::namespace;
        /// Addresses authorized to sign batches, instead of the contract; ADDRESS@FIRST..END limits
        /// one to batches whose L1 origin is at or above FIRST and below END, both bounds optional;
        /// give new batchers a range so that their first batches are not skipped
        batcher_addresses: Option<Vec<BatcherTenure>> = optional, ADDRESSES, parse::tenures;
        /// HotShot height to start reading from, if neither the state file nor the light client
        /// contract provides one
        initial_hotshot_height: Option<u64> = optional, HEIGHT, parse::height;
    }
    "L1" {
        /// URLs of L1 execution RPCs; a majority must agree, so two must both answer, and of three
        /// one may fail or lie
        l1_rpc: Vec<SecretUrl> = required, URLS, parse::voters;
        /// WebSocket URLs of L1 (ws:// or wss://), which tell of new blocks, if the URLs of l1_rpc
        /// take no WebSocket
        l1_ws: Option<Vec<SecretUrl>> = optional, URLS, parse::sockets;
        /// Address of the light client contract, used to find the starting HotShot height and to
        /// compare what query services say with its root
        light_client_address: Option<Address> = optional, ADDRESS, parse::address;
        /// Address of the BatchAuthenticator contract, which lists the authorized batchers, if it
        /// is not the one in the rollup configuration
        batch_authenticator_address: Option<Address> = optional, ADDRESS, parse::address;
    }
    "Nitro" {
        /// What must be proven of a block: hash (the sequencer has signed it) or inputs (the
        /// message and what the block makes of it, but not what comes of it)
        nitro_require: NitroRequire = "hash", plain("PROOF"), parse::nitro_require;
        /// URLs of execution RPCs of the parent chain, if it is not L1; a majority must agree
        parent_rpc: Option<Vec<SecretUrl>> = optional, URLS, parse::voters;
        /// Address of the Bridge contract on the parent chain, which has the delayed messages
        bridge_address: Option<Address> = optional, ADDRESS, parse::address;
        /// Address of the SequencerInbox contract on the parent chain, which has the batches
        sequencer_inbox_address: Option<Address> = optional, ADDRESS, parse::address;
        /// Number of the chain's first block of Nitro, if the node does not say it; without either,
        /// 0, or 22207817 for Arbitrum One
        genesis_block: Option<u64> = optional, NUMBER, parse::height;
    }
    "API" {
        /// IP address and port of the HTTP API
        listen_addr: SocketAddr = "127.0.0.1:8090", plain("IP:PORT"), parse::socket_address;
        /// Host names under which the API answers, besides IP addresses, localhost and
        /// finality_sidecar; on a loopback address no others are allowed, elsewhere any are unless
        /// this is set
        allowed_hosts: Option<Vec<String>> = optional, HOSTS, parse::hosts;
        /// Maximum long-poll wait on /v1/head
        long_poll_limit: Duration = "30s", DURATION, parse::pause;
        /// Maximum age of the head before /readyz fails; without it, age does not matter
        ready_max_age: Option<Duration> = optional, DURATION, parse::pause;
        /// Maximum number of open connections; a new one replaces the longest idle one
        max_connections: usize = "4096", NUMBER, parse::count;
    }
    "Lifecycle" {
        /// State file; its directory must exist and be writable
        store_path: PathBuf = "finality-store.json", plain("FILE"), parse::path;
        /// The etcd in which several replicas publish one head, as
        /// etcd://USER:PASSWORD@HOST:2379,HOST:2379/PREFIX, or etcds:// for TLS; without it, the
        /// state file is the only store
        store: Option<EtcdLocation> = optional, ETCD, EtcdLocation::parse;
        /// Certificates (PEM) of the authorities that may sign those of etcd, instead of the
        /// system's
        store_ca_file: Option<PathBuf> = optional, plain("FILE"), parse::path;
        /// Certificate and key (PEM, one file) by which etcd knows this sidecar
        store_identity_file: Option<PathBuf> = optional, plain("FILE"), parse::path;
        /// How many of the replicas must have verified a block before it is published: a number, or
        /// all that live
        publish_quorum: Quorum = "1", plain("COUNT|all"), parse::quorum;
        /// Time without an answer of etcd after which status calls it silent
        cluster_timeout: Duration = "5s", DURATION, parse::pause;
        /// Time without an answer of etcd after which the head is not used any more
        cluster_max_age: Duration = "1m", DURATION, parse::pause;
        /// Longest pause between verification rounds; the node is asked about the head at least
        /// this often, whatever streams say
        verification_interval: Duration = "1s", DURATION, parse::pause;
        /// Timeout for a request to a dependency
        request_timeout: Duration = "10s", DURATION, parse::pause;
        /// On shutdown, keep serving with /readyz failing for this long (drain)
        shutdown_delay: Duration = "0s", DURATION, parse::duration;
        /// On shutdown, time limit for requests in flight
        shutdown_limit: Duration = "10s", DURATION, parse::duration;
    }
    "Log" {
        /// Log level (off, error, warn, info, debug or trace), or a list of target=level
        log_level: String = "info", plain("LEVEL"), parse::log_level;
        /// Log format: text, json, or auto (text on a terminal, JSON elsewhere)
        log_format: Format = "auto", plain("FORMAT"), parse::log_format;
        /// Share of traces that are sampled, from 0 to 1, where the standard OTEL_… variables turn
        /// traces on; OTEL_TRACES_SAMPLER overrides it
        trace_sample_ratio: f64 = "0.05", plain("RATIO"), parse::ratio;
    }
}
