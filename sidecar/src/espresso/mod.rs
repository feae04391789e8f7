//! The HotShot query service: HotShot's height, and what it confirmed in our namespace.
//!
//! The service is trusted for inclusion and order; only the batcher's signature protects the
//! content.

pub mod commitment;
mod header;
mod majority;
mod namespace;
mod tagged_base64;

use alloy_primitives::bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};

use crate::upstream::{MAX_ANSWER_BYTES, Question, Upstream, UpstreamError};

pub use header::HotShotHeader;
pub use majority::QueryServices;
pub use namespace::{NamespaceBlock, NamespaceTable};
pub use tagged_base64::{TaggedBase64, TaggedBase64Error};

/// The range that every query service accepts by default, in blocks.
const DEFAULT_RANGE_LIMIT: u64 = 100;

/// The largest answer for several blocks, in bytes, since several ranges are in flight at once. A
/// single block may fill [`MAX_ANSWER_BYTES`].
const MAX_RANGE_BYTES: usize = 4 * 1024 * 1024;

/// One query service.
#[derive(Debug, Clone)]
pub struct QueryService {
    http: Upstream,
    namespace: u32,
}

#[derive(Deserialize)]
struct Limits {
    large_object_range_limit: u64,
}

impl QueryService {
    /// A query service, asked about one namespace.
    #[must_use]
    pub const fn new(http: Upstream, namespace: u32) -> Self {
        Self { http, namespace }
    }

    /// The number of HotShot blocks; the height of the newest one is one less.
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here.
    pub async fn height(&self) -> Result<u64, UpstreamError> {
        self.json("status/block-height", false).await
    }

    /// The number of blocks allowed per request; the usual limit if the service reports none.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn range_limit(&self) -> Result<u64, UpstreamError> {
        // Old services do not have it.
        match self.json::<Limits>("availability/limits", true).await {
            Ok(limits) => Ok(limits.large_object_range_limit.max(1)),
            Err(
                UpstreamError::Absent(_)
                | UpstreamError::Status { .. }
                | UpstreamError::Malformed(_),
            ) => Ok(DEFAULT_RANGE_LIMIT),
            Err(error) => Err(error),
        }
    }

    /// The payloads in our namespace, block by block, of the blocks `from..until`. There is no
    /// partial answer: an array of another length is an error, since heights follow from positions.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have one of the blocks yet.
    pub async fn range(&self, from: u64, until: u64) -> Result<Vec<NamespaceBlock>, UpstreamError> {
        let namespace = self.namespace;
        let path = format!("availability/block/{from}/{until}/namespace/{namespace}");
        let count = until.saturating_sub(from);
        let limit = if count > 1 { MAX_RANGE_BYTES } else { MAX_ANSWER_BYTES };
        let read = |body: &Bytes| {
            NamespaceBlock::read_range(body, namespace, count).map_err(|problem| {
                UpstreamError::Malformed(format!("blocks {from}..{until}: {problem}"))
            })
        };
        self.http.get(&path, Question { limit, may_be_absent: true }, read).await
    }

    /// The header of a block, checked against the service's answer for the namespace in that block.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have it yet.
    pub async fn header(&self, height: u64) -> Result<HotShotHeader, UpstreamError> {
        let header: HotShotHeader =
            self.json(&format!("availability/header/{height}"), true).await?;
        if header.height != height {
            return Err(UpstreamError::Malformed(format!(
                "asked for header {height}, the answer is header {}",
                header.height
            )));
        }
        match self.namespace_agrees(&header).await {
            // Its payload may come later than its header.
            Ok(()) | Err(UpstreamError::Absent(_)) => Ok(header),
            Err(error) => Err(error),
        }
    }

    /// Requests the namespace in the block of a header: it must be present if and only if the
    /// header's table has it.
    async fn namespace_agrees(&self, header: &HotShotHeader) -> Result<(), UpstreamError> {
        let (height, namespace) = (header.height, self.namespace);
        let until = height.saturating_add(1);
        let listed = header.namespaces.contains(namespace);
        let read = |body: &Bytes| match namespace::is_present(body) {
            Ok(present) if present == listed => Ok(()),
            Ok(_) => Err(UpstreamError::Malformed(format!(
                "block {height}: the header's table {} namespace {namespace}, the answer for it {}",
                if listed { "has" } else { "lacks" },
                if listed { "lacks it" } else { "has it" },
            ))),
            Err(problem) => Err(UpstreamError::Malformed(format!("block {height}: {problem}"))),
        };
        let path = format!("availability/block/{height}/{until}/namespace/{namespace}");
        self.http.get(&path, Question { limit: MAX_ANSWER_BYTES, may_be_absent: true }, read).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        may_be_absent: bool,
    ) -> Result<T, UpstreamError> {
        let read = |body: &Bytes| {
            serde_json::from_slice(body)
                .map_err(|error| UpstreamError::Malformed(format!("{path}: {error}")))
        };
        self.http.get(path, Question { limit: MAX_ANSWER_BYTES, may_be_absent }, read).await
    }
}

#[cfg(test)]
mod tests;
