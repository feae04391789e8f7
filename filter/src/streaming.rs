//! A body that is rewritten while it passes, since it is too long to hold.

use finality_core::{
    refusal::Refusal,
    rewrite::{ChunkRewrite, Rewriter, Stream},
};

use crate::{
    host::{self, Buffer, HostError},
    memory::Held,
    metrics::Counter,
    plugin::Plugin,
};

/// The longest body, in bytes, that is held to its end although it could be streamed: its verdict
/// is known before the node gets a byte of it.
pub const LONGEST_HELD_BODY: usize = 64 * 1024;

/// Why a body stops.
#[derive(Debug)]
pub enum Stop {
    /// It is refused, with this answer.
    Refused(Refusal, Vec<u8>),
    /// A host call failed.
    Host(&'static str, HostError),
}

/// A body that is read while it passes, within the limits.
#[derive(Debug)]
pub struct Reading {
    /// What finds the tags.
    pub stream: Stream,
    /// What the stream takes between two chunks of the body.
    held: Held,
    /// The bytes so far.
    pub bytes: usize,
    /// The tags so far.
    pub tags: usize,
}

impl Reading {
    /// A body that has not started to pass.
    #[must_use]
    pub fn new(rewriter: &Rewriter) -> Self {
        Self { stream: rewriter.stream(), held: Held::default(), bytes: 0, tags: 0 }
    }

    /// Reads the next chunk.
    ///
    /// # Errors
    /// Why the body is refused. Do not read further after that.
    pub fn push(&mut self, plugin: &Plugin, chunk: &[u8]) -> Result<ChunkRewrite, Refusal> {
        self.bytes = self.bytes.saturating_add(chunk.len());
        if let Some(limit) = plugin.config.max_body_bytes
            && self.bytes > limit
        {
            return Err(Refusal::BodyTooLarge { limit });
        }
        let rewrite = self.stream.push(chunk)?;
        if !self.held.set(self.stream.memory()) {
            return Err(Refusal::Overloaded);
        }
        self.tags += rewrite.tags();
        Ok(rewrite)
    }
}

/// A body in transit.
#[derive(Debug)]
pub struct Streaming {
    reading: Reading,
    /// What the tags become: one head per body.
    number: Option<u64>,
}

impl Streaming {
    /// A body that has not started to pass.
    #[must_use]
    pub fn new(rewriter: &Rewriter) -> Self {
        Self { reading: Reading::new(rewriter), number: None }
    }

    /// What its tags became so far.
    #[must_use]
    pub const fn number(&self) -> Option<u64> {
        self.number
    }

    /// Rewrites what the host has of the body. With `end`, nothing follows.
    ///
    /// # Errors
    /// [`Stop`]; the body must then not continue.
    pub fn pass(&mut self, plugin: &Plugin, end: bool) -> Result<(), Stop> {
        let chunk = host::buffer(Buffer::RequestBody, usize::MAX)
            .map_err(|error| Stop::Host("body cannot be read", error))?;
        let mut written = Vec::new();
        let replaced = self
            .rewrite(plugin, &chunk, end, &mut written)
            .map_err(|refusal| self.refused(refusal))?;
        if replaced > 0 || !written.is_empty() {
            host::replace_request_body(replaced, &written)
                .map_err(|error| Stop::Host("body cannot be replaced", error))?;
        }
        if end {
            self.count(plugin);
        }
        Ok(())
    }

    /// Writes what takes the place of as many bytes at the front of the chunk as are returned.
    fn rewrite(
        &mut self,
        plugin: &Plugin,
        chunk: &[u8],
        end: bool,
        written: &mut Vec<u8>,
    ) -> Result<usize, Refusal> {
        let passage = self.reading.push(plugin, chunk)?;
        let mut number = self.number;
        let resolve = || {
            let resolved = number.map_or_else(|| plugin.cached_number(), Ok)?;
            number = Some(resolved);
            Ok(resolved)
        };
        let replaced = passage.write(chunk, resolve, written).map_err(Refusal::NoHead)?;
        self.number = number;
        if !end {
            return Ok(replaced);
        }
        let rest = self.reading.stream.finish()?;
        if rest.is_empty() {
            return Ok(replaced);
        }
        written.extend_from_slice(chunk.get(replaced..).unwrap_or_default());
        written.extend_from_slice(rest);
        Ok(chunk.len())
    }

    /// The trailers have arrived: the body has ended, and nothing can be added to it. A compressed
    /// one may have been truncated: it must be JSON.
    ///
    /// # Errors
    /// [`Stop::Refused`].
    pub fn end_by_trailers(&mut self, plugin: &Plugin, compressed: bool) -> Result<(), Stop> {
        let rest = match self.reading.stream.finish() {
            Ok(rest) => rest.len(),
            Err(refusal) => return Err(self.refused(refusal)),
        };
        if rest > 0 || (compressed && !self.reading.stream.is_json()) {
            return Err(self.refused(Refusal::Unparsable));
        }
        self.count(plugin);
        Ok(())
    }

    fn count(&self, plugin: &Plugin) {
        if self.reading.tags > 0 {
            plugin.metrics.count(Counter::BodiesRewritten);
            plugin.metrics.add(Counter::TagsReplaced, self.reading.tags);
        } else {
            plugin.metrics.count(Counter::PassedNoTag);
        }
    }

    fn refused(&self, refusal: Refusal) -> Stop {
        let answer = self.reading.stream.refuse(&refusal);
        Stop::Refused(refusal, answer)
    }
}
