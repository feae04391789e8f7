//! What all replicas publish, for the commands.

use tokio::runtime::{Builder, Runtime};

use super::exit::Failure;
use crate::{
    config::Stores,
    store::{
        Identity,
        engine::{Advance, Engine, EngineError, Previous, Published, SharedHead},
        etcd::Etcd,
    },
};

/// The published head of one chain.
pub(super) struct Shared {
    runtime: Runtime,
    etcd: Etcd,
    identity: Identity,
}

/// What all replicas share, if there is such a store. The chain is that of the state file.
pub(super) fn find(stores: &Stores, identity: Option<Identity>) -> Result<Option<Shared>, Failure> {
    // It fails only if a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let Some(client) = stores.client().map_err(Failure::usage)? else { return Ok(None) };
    let identity = identity.ok_or_else(|| {
        Failure::failed("the state file (store_path) does not say which chain it is of")
    })?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    Ok(Some(Shared { runtime, etcd: client.of(identity), identity }))
}

/// A published head in words.
pub(super) fn describe(published: &Published) -> String {
    let Published { revision, head } = published;
    let hash = head.hash.map_or_else(|| "unknown".into(), |hash| hash.to_string());
    format!("{} {hash}, generation {}, revision {revision}", head.number, head.generation)
}

impl Shared {
    /// The published head.
    pub(super) fn published(&self) -> Result<Option<Published>, Failure> {
        let reading = self.runtime.block_on(self.etcd.load()).map_err(failed)?;
        Ok(reading.published)
    }

    /// Lowers the published head, in the next generation.
    pub(super) fn lower(&self, published: &Published, number: u64) -> Result<(), Failure> {
        let Published { revision, head } = published;
        let generation = head.generation.saturating_add(1);
        let mut next = SharedHead::new(self.identity, generation, number, head.source);
        next.previous = Some(Previous { revision: *revision, hash: head.hash });
        let lowered = self.runtime.block_on(self.etcd.advance(Some(*revision), &next));
        match lowered.map_err(failed)? {
            Advance::Done(_) => Ok(()),
            Advance::Lost(_) => {
                Err(Failure::failed("another head was published meanwhile; run this again"))
            }
        }
    }
}

fn failed(error: EngineError) -> Failure {
    Failure::failed(format_args!("the published head (store): {error}"))
}
