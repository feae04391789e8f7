//! One configured plugin on one worker: what its requests and its poller share.

use std::rc::Rc;

use finality_core::{refusal::NoHead, rewrite::Rewriter};

use crate::{
    config::{Config, ConfigError},
    fnv::fnv1a,
    head_cache::HeadCache,
    host,
    metrics::Metrics,
};

/// One configured plugin on one worker.
#[derive(Debug)]
pub struct Plugin {
    /// Its configuration.
    pub config: Config,
    /// Finds and replaces tags by that configuration.
    pub rewriter: Rewriter,
    /// The head, shared with the other workers.
    pub head: HeadCache,
    /// Its metrics, shared with the other workers.
    pub metrics: Rc<Metrics>,
}

impl Plugin {
    /// A plugin by the text of its configuration, with the metrics of its VM.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(configuration: &[u8], metrics: Rc<Metrics>) -> Result<Self, ConfigError> {
        let (config, rewriter) = Config::parse(configuration)?;
        let key = shared_key("head", &config);
        // 21 bytes: the host, which copies each key, keeps up to 22 in place.
        let guard = format!("finality {:012x}", fnv1a(key.as_bytes()) >> 16);
        let head = HeadCache::new(key, guard, config.chain_id);
        Ok(Self { config, rewriter, head, metrics })
    }

    /// The number that tags become, by the shared head.
    ///
    /// # Errors
    /// Why there is no usable head.
    pub fn cached_number(&self) -> Result<u64, NoHead> {
        let head = self.head.get().ok_or(NoHead::Unknown)?;
        head.usable(host::now(), self.config.max_contact_age)
    }

    /// The key of this configuration's lease. Each configuration has its own lease, so that a
    /// draining instance does not hold it.
    #[must_use]
    pub fn lease_key(&self, configuration: &[u8]) -> String {
        format!("{} {:016x}", shared_key("lease", &self.config), fnv1a(configuration))
    }
}

/// A key of shared data. The digit is the version of the stored value: during an upgrade, modules
/// of two versions may share the data.
fn shared_key(what: &str, config: &Config) -> String {
    let Config { cache_key, sidecar_cluster, sidecar_authority, chain_id, .. } = config;
    format!(
        "finality {what} 4 {cache_key:?} {sidecar_cluster:?} {sidecar_authority:?} {chain_id:?}"
    )
}
