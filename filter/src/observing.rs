//! `mode: observe`: a body that passes as it is, and what would become of its tags.

use finality_core::{
    refusal::Refusal,
    rewrite::{Rewriter, Stream},
};

use crate::{
    host::{self, Buffer, Level},
    memory::Held,
    metrics::Counter,
    plugin::Plugin,
};

/// Response header: the number that a request's tags would have become, or the reason of the
/// refusal.
pub const HEADER: &str = "x-finality-observed";

/// What the log says at the start, since nobody would notice otherwise.
pub const NOTICE: &str =
    "mode observe: nothing is replaced or refused, and tags reach the node as they are";

/// A body that is read while it passes.
#[derive(Debug)]
pub struct Observing {
    stream: Stream,
    /// What the stream takes between two chunks of the body.
    held: Held,
    /// The bytes so far.
    bytes: usize,
    tags: usize,
}

impl Observing {
    /// A body that has not started to pass.
    #[must_use]
    pub fn new(rewriter: &Rewriter) -> Self {
        Self { stream: rewriter.stream(), held: Held::default(), bytes: 0, tags: 0 }
    }

    /// Reads what the host has of the body.
    ///
    /// # Errors
    /// Why the body would be refused. Do not read further after that.
    pub fn read(&mut self, plugin: &Plugin) -> Result<(), Refusal> {
        let chunk = host::buffer(Buffer::RequestBody, usize::MAX).map_err(|error| {
            host::log(Level::Error, &format!("body cannot be observed: {error}"));
            Refusal::HostFailure
        })?;
        self.bytes = self.bytes.saturating_add(chunk.len());
        if let Some(limit) = plugin.config.max_body_bytes
            && self.bytes > limit
        {
            return Err(Refusal::BodyTooLarge { limit });
        }
        self.tags += self.stream.push(&chunk)?.tags();
        if self.held.set(self.stream.memory()) { Ok(()) } else { Err(Refusal::Overloaded) }
    }

    /// The body has ended: counts it, and returns what its tags would have become, if it has any.
    ///
    /// # Errors
    /// Why the body would be refused.
    pub fn end(&mut self, plugin: &Plugin, compressed: bool) -> Result<Option<u64>, Refusal> {
        self.stream.finish()?;
        if compressed && !self.stream.is_json() {
            return Err(Refusal::Unparsable);
        }
        if self.tags == 0 {
            let empty = self.bytes == 0;
            plugin.metrics.count(if empty { Counter::PassedNoBody } else { Counter::PassedNoTag });
            return Ok(None);
        }
        let number = plugin.cached_number().map_err(Refusal::NoHead)?;
        plugin.metrics.count(Counter::ObservedRewritten);
        plugin.metrics.add(Counter::ObservedTags, self.tags);
        Ok(Some(number))
    }
}
