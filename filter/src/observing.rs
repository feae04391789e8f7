//! `mode: observe`: a body that passes as it is, and what would become of its tags.

use finality_core::{refusal::Refusal, rewrite::Rewriter};

use crate::{
    host::{self, Buffer, Level},
    metrics::Counter,
    plugin::Plugin,
    streaming::Reading,
};

/// Response header: the number that a request's tags would have become, or the reason of the
/// refusal.
pub const HEADER: &str = "x-finality-observed";

/// What the log says at the start, since nobody would notice otherwise.
pub const NOTICE: &str =
    "mode observe: nothing is replaced or refused, and tags reach the node as they are";

/// A body that is read while it passes.
#[derive(Debug)]
pub struct Observing(Reading);

impl Observing {
    /// A body that has not started to pass.
    #[must_use]
    pub fn new(rewriter: &Rewriter) -> Self {
        Self(Reading::new(rewriter))
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
        self.0.push(plugin, &chunk).map(drop)
    }

    /// The body has ended: counts it, and returns what its tags would have become, if it has any.
    ///
    /// # Errors
    /// Why the body would be refused.
    pub fn end(&mut self, plugin: &Plugin, compressed: bool) -> Result<Option<u64>, Refusal> {
        let Reading { stream, bytes, tags, .. } = &mut self.0;
        stream.finish()?;
        if compressed && !stream.is_json() {
            return Err(Refusal::Unparsable);
        }
        if *tags == 0 {
            let empty = *bytes == 0;
            plugin.metrics.count(if empty { Counter::PassedNoBody } else { Counter::PassedNoTag });
            return Ok(None);
        }
        let number = plugin.cached_number().map_err(Refusal::NoHead)?;
        plugin.metrics.count(Counter::ObservedRewritten);
        plugin.metrics.add(Counter::ObservedTags, *tags);
        Ok(Some(number))
    }
}
