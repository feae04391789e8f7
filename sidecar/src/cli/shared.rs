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

/// How often a head is lowered that others have raised meanwhile.
const TRIES: usize = 100;

/// The published head of one chain.
pub(super) struct Shared {
    runtime: &'static Runtime,
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
    Ok(Some(Shared { runtime: runtime()?, etcd: client.of(identity), identity }))
}

/// What a command asks with. It lives until the process ends, since its end would wait for what is
/// still under way, such as a name that is looked up.
pub(super) fn runtime() -> Result<&'static Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    Ok(Box::leak(Box::new(runtime)))
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

    /// Lowers the published head, in the next generation. Replicas may go on publishing in the one
    /// that was seen.
    pub(super) fn lower(&self, seen: &Published, number: u64) -> Result<(), Failure> {
        let generation = seen.head.generation;
        let mut published = seen.clone();
        for _ in 0..TRIES {
            let Published { revision, head } = published;
            let generation_after = generation.saturating_add(1);
            let mut next = SharedHead::new(self.identity, generation_after, number, head.source);
            next.previous = Some(Previous { revision, hash: head.hash });
            let lowered = self.runtime.block_on(self.etcd.advance(Some(revision), &next));
            let found = match lowered.map_err(failed)? {
                Advance::Done(_) => return Ok(()),
                Advance::Lost(reading) => reading.published,
            };
            let is_raised = |found: &Published| {
                found.head.generation == generation && found.head.number >= number
            };
            published = found.filter(is_raised).ok_or_else(|| {
                Failure::failed("the published head was lowered meanwhile; run store show")
            })?;
        }
        Err(Failure::failed("another head was published each time; run this again"))
    }
}

fn failed(error: EngineError) -> Failure {
    Failure::failed(format_args!("the published head (store): {error}"))
}
