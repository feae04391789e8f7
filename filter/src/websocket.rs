//! JSON-RPC over WebSocket: the client's messages are rewritten one by one.
//!
//! Only the client's side is read; answers and subscriptions pass unmodified. A refused message
//! cannot be answered from here, since what the filter writes goes to the node. Without a usable
//! head, the node gets calls to an unknown method in its place, so that its errors carry the ids. A
//! message that is refused regardless of the head closes the connection: the node gets a close
//! frame in its place, and the client sees the connection end.

use std::rc::Rc;

use finality_core::{
    refusal::Refusal,
    rewrite::{DEFAULT_MAX_BODY_BYTES, Inspection},
    websocket::{self, Fault, Relay},
};

use crate::{
    host::{self, Buffer, HostError},
    memory::Held,
    metrics::Counter,
    plugin::Plugin,
};

/// The close code if there is no room for a connection's messages.
const TRY_AGAIN_LATER: u16 = 1013;

/// The close code for a refused message.
const POLICY_VIOLATION: u16 = 1008;

/// A connection after its upgrade.
#[derive(Debug)]
pub struct WebSocket {
    plugin: Rc<Plugin>,
    relay: Relay,
    /// What an incomplete message takes.
    held: Held,
    /// A close frame was written: nothing may follow it.
    closed: bool,
}

impl WebSocket {
    /// A connection on which nothing has been sent yet.
    #[must_use]
    pub fn new(plugin: Rc<Plugin>) -> Self {
        let limit = plugin.config.max_body_bytes.unwrap_or(DEFAULT_MAX_BODY_BYTES);
        Self { plugin, relay: Relay::new(limit), held: Held::default(), closed: false }
    }

    /// Rewrites what the host has of the client's frames.
    ///
    /// # Errors
    /// The host's error; nothing may be forwarded then.
    pub fn pass(&mut self) -> Result<(), HostError> {
        let bytes = host::buffer(Buffer::RequestBody, usize::MAX)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut written = Vec::with_capacity(bytes.len());
        if !self.closed
            && let Err(code) = self.rewrite(&bytes, &mut written).and_then(|()| self.hold())
        {
            self.closed = true;
            self.relay = Relay::new(0);
            self.held = Held::default();
            websocket::write_close(code, &mut written);
        }
        if written == bytes { Ok(()) } else { host::replace_request_body(usize::MAX, &written) }
    }

    /// Writes what is forwarded. The error is the code to close with.
    fn rewrite(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), u16> {
        let plugin = &self.plugin;
        while let Some(message) = self.relay.read(&mut bytes, out).map_err(Fault::close_code)? {
            let payload = message.payload();
            match plugin.rewriter.inspect(payload) {
                Inspection::Untouched => {
                    plugin.metrics.count(Counter::PassedNoTag);
                    message.write(payload, out);
                }
                Inspection::Tagged(tagged) => match plugin.cached_number() {
                    Ok(number) => {
                        plugin.metrics.count(Counter::BodiesRewritten);
                        plugin.metrics.add(Counter::TagsReplaced, tagged.tags());
                        message.write(&tagged.splice(payload, number), out);
                    }
                    Err(reason) => {
                        let refusal = Refusal::NoHead(reason);
                        plugin.metrics.refused(refusal.reason());
                        let unknown = tagged.unknown_calls(payload, &refusal);
                        // Notifications get no answers.
                        if !unknown.is_empty() {
                            message.write(&unknown, out);
                        }
                    }
                },
                Inspection::Refused(denied) => {
                    plugin.metrics.refused(denied.refusal.reason());
                    return Err(POLICY_VIOLATION);
                }
            }
        }
        Ok(())
    }

    /// Accounts for what is held now. The error is the code to close with.
    fn hold(&mut self) -> Result<(), u16> {
        if self.held.set(self.relay.memory()) { Ok(()) } else { Err(TRY_AGAIN_LATER) }
    }
}
