//! The questions to a query service whose answers are proven.

use std::time::Duration;

use alloy_primitives::bytes::Bytes;
use espresso_proofs::{
    Answer, BlockPath, Evidence, Header, ProvenSize, Reason, read_committee_size,
};

use super::QueryService;
use crate::upstream::{Question, UpstreamError};

/// For a proof of wrong encoding, a service collects shares from the nodes.
const COLLECTING: Duration = Duration::from_secs(60);

/// An answer that its proof does not bear out.
pub(crate) fn disproven(reason: Reason, problem: impl ToString) -> UpstreamError {
    UpstreamError::Disproven { reason: reason.code(), problem: problem.to_string() }
}

impl QueryService {
    /// The headers of the blocks `from..until`.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have one of them yet.
    pub async fn headers(&self, from: u64, until: u64) -> Result<Vec<Header>, UpstreamError> {
        let path = format!("availability/header/{from}/{until}");
        let read = |body: &Bytes| {
            Header::read_range(body, from, until).map_err(|error| disproven(error.reason(), error))
        };
        self.http.get(&path, Question::BLOCKS, read).await
    }

    /// The answers for the namespace in the blocks `from..until`, with their proofs.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have one of the
    /// blocks yet.
    pub async fn answers(
        &self,
        from: u64,
        until: u64,
        question: Question,
    ) -> Result<Vec<Answer>, UpstreamError> {
        let namespace = self.namespace;
        let path = format!("availability/block/{from}/{until}/namespace/{namespace}");
        let read = |body: &Bytes| {
            Answer::read_range(body, until.saturating_sub(from)).map_err(UpstreamError::Malformed)
        };
        self.http.get(&path, question, read).await
    }

    /// The answer for the namespace in a block of which the service has no ordinary proof: some
    /// have the proof of wrong encoding there, some on a route of its own. None if it has neither.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn late_answer(&self, height: u64) -> Result<Option<Answer>, UpstreamError> {
        type Read = fn(&[u8]) -> Result<Answer, String>;
        let namespace = self.namespace;
        let routes: [(String, Read); 3] = [
            (format!("availability/block/{height}/namespace/{namespace}"), Answer::read),
            (
                format!("availability/incorrect-encoding-proof/{height}/{namespace}"),
                Answer::read_proof,
            ),
            (
                format!("availability/incorrect-encoding/{namespace}/block/{height}"),
                Answer::read_proof,
            ),
        ];
        let question = Question { time_limit: Some(COLLECTING), ..Question::BLOCK };
        for (path, read) in routes {
            let read = |body: &Bytes| read(body).map_err(UpstreamError::Malformed);
            match self.http.get(&path, question, read).await {
                Ok(answer) if answer.has_proof() => return Ok(Some(answer)),
                // Each service has some of the routes.
                Ok(_) | Err(UpstreamError::Absent(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The size of the committee that a block was dispersed to.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have it yet.
    pub async fn committee_size(&self, height: u64) -> Result<u32, UpstreamError> {
        let path = format!("availability/vid/common/{height}");
        let read = |body: &Bytes| read_committee_size(body).map_err(UpstreamError::Malformed);
        self.http.get(&path, Question::BLOCKS, read).await
    }

    /// The size of a block's committee by an ordinary proof of the namespace; none if there is no
    /// proof of it.
    pub(super) async fn ordinary_size(&self, header: &Header, size: u32) -> Option<ProvenSize> {
        let height = header.height();
        let answers = self.answers(height, height.saturating_add(1), Question::BLOCK).await.ok()?;
        let answer = answers.first()?;
        let fits = |size| match answer.check(header, self.namespace, size, &[]) {
            Ok(Evidence::Opened(size)) => Some(size),
            _ => None,
        };
        match fits(size) {
            Some(size) => Some(size),
            None => fits(self.committee_size(height).await.ok()?),
        }
    }

    /// The path from a header to the root of the tree over the first headers, this many.
    ///
    /// # Errors
    /// [`UpstreamError`]; [`UpstreamError::Absent`] when the service does not have it.
    pub async fn block_path(&self, headers: u64, height: u64) -> Result<BlockPath, UpstreamError> {
        let path = format!("block-state/{headers}/{height}");
        let read =
            |body: &Bytes| BlockPath::read(body).map_err(|error| disproven(error.reason(), error));
        let question = Question { may_be_absent: true, ..Question::SMALL };
        self.http.get(&path, question, read).await
    }
}
