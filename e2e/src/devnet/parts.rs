//! What stands around Envoy, chosen before it starts.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::Devnet;
use crate::{
    builder::Builder,
    emulated::{self, Emulated},
    envoy::Envoy,
    hotshot::Hotshot,
    l1::L1,
    l1_info::L1InfoFormat,
    link::Links,
    nitro::{Nitro, parent::ParentChain, poster::Posting},
    process,
    real::{Real, genesis::Forks},
    rollup::{OriginPolicy, Rollup},
    sidecar::{self, Sidecar},
    signer::Signer,
    tools::Tools,
};

/// L1 blocks before L2 starts: enough for finality to advance.
const L1_BEFORE: u64 = 8;
/// L2 blocks before the sidecar starts.
const L2_BEFORE: u64 = 6;

/// What stands around Envoy.
#[derive(Debug)]
pub struct Parts<R: Rollup> {
    pub(super) rollup: R::Settings,
    pub(super) origins: OriginPolicy,
    pub(super) age: u64,
    pub(super) services: usize,
    pub(super) minor: u64,
    pub(super) sidecar: Vec<(&'static str, String)>,
    pub(super) links: Option<Arc<Links>>,
}

impl<R: Rollup> Builder<Parts<R>> {
    /// Which L1 blocks the sequencer takes as origins.
    #[must_use]
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.parts.origins = origins;
        self
    }

    /// Lets the sidecar reach its dependencies over these.
    #[must_use]
    pub fn links(mut self, links: Arc<Links>) -> Self {
        self.parts.links = Some(links);
        self
    }

    /// How long ago L1 begins, in seconds.
    #[must_use]
    pub fn age(mut self, seconds: u64) -> Self {
        self.parts.age = seconds;
        self
    }

    /// How many query services HotShot has; the sidecar asks all of them.
    #[must_use]
    pub fn services(mut self, count: usize) -> Self {
        self.parts.services = count;
        self
    }

    /// HotShot begins with the protocol version 0.x.
    #[must_use]
    pub fn hotshot_version(mut self, minor: u64) -> Self {
        self.parts.minor = minor;
        self
    }

    /// Tells the sidecar another setting, by the name of its flag.
    #[must_use]
    pub fn sidecar(mut self, flag: &'static str, value: &str) -> Self {
        self.parts.sidecar.push((flag, value.to_owned()));
        self
    }

    /// Starts everything and waits until a tag is answered through Envoy.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn start(self) -> Devnet<R> {
        let folder = process::folder();
        let path = folder.path();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let l1_genesis = now - self.parts.age;
        let l1 = Arc::new(L1::start(l1_genesis, Signer::batcher().address(), path).await);
        l1.mine(L1_BEFORE).await;
        let Parts { rollup, origins, services: count, minor, sidecar: more, links, .. } =
            self.parts;
        let rollup = R::start(rollup, origins, Arc::clone(&l1), path).await;
        let rollup = Arc::new(rollup);
        let hotshot = Arc::new(Hotshot::start_at(rollup.genesis_origin(), minor).await);
        let mut services = Vec::new();
        for _ in 1..count {
            services.push(hotshot.another().await);
        }
        let urls: Vec<_> = std::iter::once(&*hotshot).chain(&services).map(Hotshot::url).collect();
        let batcher = rollup.poster(Arc::clone(&hotshot));
        let mut flags = rollup.sidecar(&l1);
        // A list that is given twice would be both.
        flags.retain(|(flag, _)| more.iter().all(|(set, _)| set != flag));
        flags.extend(more);
        let mut settings = sidecar::Settings {
            program: Tools::from_env().unwrap_or_else(|error| panic!("{error}")).sidecar,
            node_execution_rpc: local(rollup.execution_port()),
            node_consensus_rpc: rollup.consensus_port().map(local),
            l1_rpc: l1.rpc().url().into(),
            query_service_url: urls.join(","),
            light_client_address: l1.light_client(),
            more: flags,
        };
        if let Some(links) = links {
            let parent = settings.more.iter_mut().find(|(flag, _)| *flag == "--parent-rpc");
            if let Some((_, url)) = parent {
                *url = links.parent.to(url);
            }
            settings.node_execution_rpc = links.node.to(&settings.node_execution_rpc);
            settings.node_consensus_rpc =
                settings.node_consensus_rpc.map(|url| links.op_node.to(&url));
            settings.l1_rpc = links.l1.to(&settings.l1_rpc);
            settings.query_service_url = links.query_service.to(&settings.query_service_url);
        }
        let sidecar = Arc::new(Sidecar::new(settings, path));
        let tag = self.envoy.tags.first().cloned().unwrap_or_else(|| "espresso".into());
        let envoy = Envoy::new(self.envoy, rollup.execution_port(), sidecar.port(), path);
        let devnet = Devnet { envoy, sidecar, rollup, batcher, hotshot, services, l1, tag, folder };
        devnet.produce(L2_BEFORE).await;
        let finalized = devnet.rollup.first_finalized().await;
        tokio::join!(devnet.sidecar.start(), devnet.envoy.start());
        devnet.head_reaches(finalized).await;
        devnet
    }
}

impl Builder<Parts<Emulated>> {
    /// Format of the info deposits.
    #[must_use]
    pub fn l1_info(mut self, format: L1InfoFormat) -> Self {
        self.parts.rollup = emulated::Settings { l1_info: format };
        self
    }
}

impl Builder<Parts<Nitro>> {
    /// Which chain the parent is.
    #[must_use]
    pub fn parent(mut self, parent: ParentChain) -> Self {
        self.parts.rollup.parent = parent;
        self
    }

    /// How messages are posted at first.
    #[must_use]
    pub fn posting(mut self, posting: Posting) -> Self {
        self.parts.rollup.posting = posting;
        self
    }

    /// ArbOS' version.
    #[must_use]
    pub fn arbos(mut self, version: u64) -> Self {
        self.parts.rollup.arbos_version = version;
        self
    }

    /// The number of the genesis block.
    #[must_use]
    pub fn genesis(mut self, number: u64) -> Self {
        self.parts.rollup.genesis = number;
        self
    }
}

impl Builder<Parts<Real>> {
    /// When the forks are activated.
    #[must_use]
    pub fn forks(mut self, forks: Forks) -> Self {
        self.parts.rollup.forks = forks;
        self
    }

    /// Lets op-batcher run all the time.
    #[must_use]
    pub fn with_op_batcher(mut self) -> Self {
        self.parts.rollup.op_batcher = true;
        self
    }
}

pub(super) fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
