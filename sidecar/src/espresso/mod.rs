//! The HotShot query service: HotShot's height, and what it confirmed in our namespace.
//!
//! The service is trusted for inclusion and order; only the batcher's signature protects the
//! content.

mod majority;
mod proofs;

use alloy_primitives::bytes::Bytes;
use espresso_proofs::{Chain, Header, Link, NamespaceBlock, listed};
use serde::Deserialize;

use crate::upstream::{Question, Upstream, UpstreamError};

pub use majority::QueryServices;
pub(crate) use majority::is_unserved;
pub(crate) use proofs::disproven;

/// The range that every query service accepts by default, in blocks.
const DEFAULT_RANGE_LIMIT: u64 = 100;

/// Blocks in a row, as far as the namespace is concerned.
#[derive(Debug)]
pub struct Blocks {
    /// What the namespace has in each.
    pub payloads: Vec<NamespaceBlock>,
    /// How they stand in HotShot's chain.
    pub headers: Headers,
}

/// How blocks in a row stand in HotShot's chain.
#[derive(Debug)]
pub enum Headers {
    /// Nothing of it was read.
    Unread,
    /// As a majority of the services says.
    Agreed(Vec<Link>),
    /// They are under the light client's root.
    Proven {
        /// The chain below the first.
        before: Box<Chain>,
        /// The chain up to the last.
        after: Box<Chain>,
    },
}

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

    /// The same service, asked about another namespace.
    #[must_use]
    pub fn with_namespace(&self, namespace: u32) -> Self {
        Self { http: self.http.clone(), namespace }
    }

    /// The number of HotShot blocks; the height of the newest one is one less.
    ///
    /// # Errors
    /// [`UpstreamError`], as for every call here.
    pub async fn height(&self) -> Result<u64, UpstreamError> {
        let path = "status/block-height";
        self.http.get(path, Question::SMALL, |body| read_json(path, body)).await
    }

    /// The number of blocks allowed per request; the usual limit if the service reports none.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn range_limit(&self) -> Result<u64, UpstreamError> {
        let path = "availability/limits";
        // Old services do not have it.
        let question = Question { may_be_absent: true, ..Question::SMALL };
        match self.http.get(path, question, |body| read_json::<Limits>(path, body)).await {
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
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have one of the
    /// blocks yet, [`UpstreamError::TooLarge`] when fewer blocks, or the only one alone, can be
    /// read.
    pub async fn range(&self, from: u64, until: u64) -> Result<Vec<NamespaceBlock>, UpstreamError> {
        self.blocks(from, until, Question::BLOCKS).await
    }

    /// The payloads in our namespace in one block, as many as a HotShot block can have. No other
    /// request may be in flight that holds so much.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have the block yet.
    pub async fn block_alone(&self, height: u64) -> Result<NamespaceBlock, UpstreamError> {
        let blocks = self.blocks(height, height.saturating_add(1), Question::BLOCK).await?;
        Ok(blocks.into_iter().next().unwrap_or_default())
    }

    async fn blocks(
        &self,
        from: u64,
        until: u64,
        question: Question,
    ) -> Result<Vec<NamespaceBlock>, UpstreamError> {
        let namespace = self.namespace;
        let path = format!("availability/block/{from}/{until}/namespace/{namespace}");
        let count = until.saturating_sub(from);
        let read = |body: &Bytes| {
            listed::read_range(body, namespace, count).map_err(|problem| {
                UpstreamError::Malformed(format!("blocks {from}..{until}: {problem}"))
            })
        };
        self.http.get(&path, question, read).await
    }

    /// The header of a block, checked against the service's answer for the namespace in that block.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have it yet.
    pub async fn header(&self, height: u64) -> Result<Header, UpstreamError> {
        let path = format!("availability/header/{height}");
        // One with thousands of namespaces is not shown.
        let question = Question { may_be_absent: true, may_be_longer: true, ..Question::SMALL };
        let read = |body: &Bytes| {
            Header::read(body)
                .map_err(|problem| UpstreamError::Malformed(format!("{path}: {problem}")))
        };
        let header = self.http.get(&path, question, read).await?;
        if header.height() != height {
            return Err(UpstreamError::Malformed(format!(
                "asked for header {height}, the answer is header {}",
                header.height()
            )));
        }
        match self.namespace_agrees(&header).await {
            // Its payload may come later than its header, or be too long to be read for this.
            Ok(()) | Err(UpstreamError::Absent(_) | UpstreamError::TooLarge { .. }) => Ok(header),
            Err(error) => Err(error),
        }
    }

    /// Requests the namespace in the block of a header: it must be present if and only if the
    /// header's table has it.
    async fn namespace_agrees(&self, header: &Header) -> Result<(), UpstreamError> {
        let (height, namespace) = (header.height(), self.namespace);
        let until = height.saturating_add(1);
        let listed = header.namespaces().contains(namespace);
        let read = |body: &Bytes| match listed::is_present(body) {
            Ok(present) if present == listed => Ok(()),
            Ok(_) => Err(UpstreamError::Malformed(format!(
                "block {height}: the header's table {} namespace {namespace}, the answer for it {}",
                if listed { "has" } else { "lacks" },
                if listed { "lacks it" } else { "has it" },
            ))),
            Err(problem) => Err(UpstreamError::Malformed(format!("block {height}: {problem}"))),
        };
        let path = format!("availability/block/{height}/{until}/namespace/{namespace}");
        self.http.get(&path, Question::BLOCKS, read).await
    }
}

fn read_json<'a, T: Deserialize<'a>>(path: &str, body: &'a Bytes) -> Result<T, UpstreamError> {
    serde_json::from_slice(body)
        .map_err(|error| UpstreamError::Malformed(format!("{path}: {error}")))
}

#[cfg(test)]
mod tests;
