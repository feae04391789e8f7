//! Headers under the light client's root: whoever gives them, they need no majority.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use espresso_proofs::{BlockTreeRoot, Chain, Checkpoint, Header, Reason};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{QueryServices, most_telling};
use crate::{espresso::proofs::disproven, upstream::UpstreamError};

/// The most chains up to a height that are kept: those of the ranges under way, and some more.
const MOST_CHAINS: usize = 64;

/// A state of the light client that counts, and the begins of the chain under its root that were
/// shown so far.
#[derive(Debug)]
pub(in crate::espresso) struct Rooted {
    checkpoint: Checkpoint,
    /// By their height. Each is asked for once, although two ranges need it.
    chains: Mutex<BTreeMap<u64, Arc<OnceCell<Chain>>>>,
    /// Whether paths to this root were found not to be served.
    unserved: AtomicBool,
}

impl Rooted {
    pub(super) fn new(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, chains: Mutex::default(), unserved: AtomicBool::new(false) }
    }

    pub(super) fn is_unserved(&self) -> bool {
        self.unserved.load(Ordering::Relaxed)
    }

    pub(super) fn was_unserved(&self) {
        self.unserved.store(true, Ordering::Relaxed);
    }

    fn cell(&self, height: u64) -> Arc<OnceCell<Chain>> {
        let mut chains = self.chains.lock();
        if chains.len() >= MOST_CHAINS {
            chains.pop_first();
        }
        Arc::clone(chains.entry(height).or_default())
    }
}

/// Whether no service serves paths, which is nobody's lie.
pub(crate) const fn is_unserved(error: &UpstreamError) -> bool {
    matches!(
        error,
        UpstreamError::Absent(_) | UpstreamError::WrongPath { .. } | UpstreamError::Status { .. }
    )
}

impl QueryServices {
    /// From now on headers below this state's height are proven under its root.
    pub fn prove_under(&self, checkpoint: Checkpoint) {
        let mut rooted = self.rooted.write();
        if rooted.as_ref().is_none_or(|known| known.checkpoint != checkpoint) {
            *rooted = Some(Arc::new(Rooted::new(checkpoint)));
        }
    }

    /// The state under which headers below a height are proven.
    pub(super) fn rooted_up_to(&self, height: u64) -> Option<Arc<Rooted>> {
        self.rooted.read().clone().filter(|rooted| height <= rooted.checkpoint.height)
    }

    /// The headers of the blocks `from..until`, from the first service that has those under the
    /// root, with the chain before and after them.
    pub(super) async fn rooted_headers(
        &self,
        rooted: &Rooted,
        from: u64,
        until: u64,
    ) -> Result<(Vec<Header>, Chain, Chain), UpstreamError> {
        let (before, after) =
            tokio::try_join!(self.rooted_chain(rooted, from), self.rooted_chain(rooted, until))?;
        let mut errors = Vec::new();
        for index in self.order(Some(until)) {
            let Some(service) = self.service(index) else { continue };
            let headers = service.headers(from, until).await.and_then(|headers| {
                let mut chain = before.clone();
                match chain.extend(&headers) {
                    Ok(()) if chain.is_same(&after) => Ok((headers, chain)),
                    Ok(()) => Err(disproven(
                        Reason::BlockTree,
                        format!("headers {from}..{until} are not those under the root"),
                    )),
                    Err(error) => Err(disproven(error.reason(), error)),
                }
            });
            match headers {
                Ok((headers, chain)) => return Ok((headers, before, chain)),
                Err(error) => {
                    self.failed(index, &error);
                    errors.push(error);
                }
            }
        }
        Err(most_telling(errors))
    }

    async fn rooted_chain(&self, rooted: &Rooted, height: u64) -> Result<Chain, UpstreamError> {
        let cell = rooted.cell(height);
        cell.get_or_try_init(|| self.chain_under(rooted.checkpoint, height)).await.cloned()
    }

    /// The chain below a height as it is under the light client's root, by the path of its last
    /// header from the first service whose path leads there.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Disproven`] if paths lead elsewhere and most have one.
    pub async fn chain_under(
        &self,
        checkpoint: Checkpoint,
        height: u64,
    ) -> Result<Chain, UpstreamError> {
        let Some(last) = height.checked_sub(1) else { return Ok(Chain::new()) };
        self.by_path(checkpoint.height, last, |path| {
            let chain = checkpoint.chain_of(path, last);
            chain.map_err(|error| disproven(error.reason(), error))
        })
        .await
    }

    /// The chain below a height whose root the header at that height names. It is as true as the
    /// header.
    ///
    /// # Errors
    /// As [`Self::chain_under`].
    pub async fn chain_before(
        &self,
        height: u64,
        root: BlockTreeRoot,
    ) -> Result<Chain, UpstreamError> {
        let Some(last) = height.checked_sub(1) else { return Ok(Chain::new()) };
        self.by_path(height, last, |path| {
            path.check(last, path.commitment(), &root)
                .map(|()| Chain::after(path))
                .map_err(|error| disproven(error.reason(), error))
        })
        .await
    }

    async fn by_path(
        &self,
        headers: u64,
        height: u64,
        read: impl Fn(&espresso_proofs::BlockPath) -> Result<Chain, UpstreamError>,
    ) -> Result<Chain, UpstreamError> {
        let mut errors = Vec::new();
        for index in self.order(Some(headers)) {
            let Some(service) = self.service(index) else { continue };
            match service.block_path(headers, height).await.and_then(|path| read(&path)) {
                Ok(chain) => return Ok(chain),
                Err(error) => {
                    if !is_unserved(&error) {
                        self.failed(index, &error);
                    }
                    errors.push(error);
                }
            }
        }
        // That most have none is no lie, whatever the others say.
        let is_lie = |error: &UpstreamError| matches!(error, UpstreamError::Disproven { .. });
        let lies = errors.iter().filter(|error| is_lie(error)).count();
        let most_lack_it = errors.len() - lies >= self.majority();
        errors.sort_by_key(|error| (is_lie(error) == most_lack_it, is_unserved(error)));
        Err(errors.into_iter().next().unwrap_or_else(|| UpstreamError::Absent(String::new())))
    }
}
