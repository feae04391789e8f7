//! What Envoy calls through the SDK: a root context for each configured plugin, and an HTTP context
//! for each request. Both only forward, to [`Poller`] and [`Request`].
//!
//! The SDK keeps the contexts and panics on a callback for an unknown one. Envoy creates each
//! context before anything else, deletes it last, and creates none for requests of a plugin
//! without a configuration.

use std::rc::Rc;

use finality_core::build;
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action as SdkAction, ContextType},
};

use crate::{
    config::Mode,
    host::{self, Buffer, Level},
    metrics::Metrics,
    observing,
    plugin::Plugin,
    poller::Poller,
    request::{Action, Request},
};

proxy_wasm::main! {{
    // Nothing here should panic. If something does, the log says where: the SDK sets the hook with
    // the log level. Native tests keep their own hook.
    #[cfg(target_arch = "wasm32")]
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Root::new(id)));
}}

/// A plugin on one worker: one, and more only while old configurations drain.
#[derive(Debug)]
struct Root {
    id: u32,
    metrics: Rc<Metrics>,
    /// None before a configuration is accepted.
    poller: Option<Poller>,
}

impl Root {
    fn new(id: u32) -> Self {
        Self { id, metrics: Metrics::of_this_vm(), poller: None }
    }

    fn configure(&mut self) -> Result<(), String> {
        let configuration = host::buffer(Buffer::PluginConfiguration, usize::MAX)
            .map_err(|error| format!("configuration cannot be read: {error}"))?;
        let plugin = Plugin::new(&configuration, Rc::clone(&self.metrics))
            .map_err(|error| format!("configuration rejected: {error}"))?;
        if plugin.config.mode == Mode::Observe {
            host::log(Level::Warn, observing::NOTICE);
        }
        self.poller = Some(Poller::start(Rc::new(plugin), self.id, &configuration));
        Ok(())
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        if let Some(poller) = &mut self.poller {
            poller.on_answer(token);
        }
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _: usize) -> bool {
        host::log(Level::Info, &format!("finality-filter {}", build::LINE));
        true
    }

    fn on_configure(&mut self, _: usize) -> bool {
        let configured = self.configure();
        if let Err(line) = &configured {
            host::log(Level::Error, line);
        }
        configured.is_ok()
    }

    fn on_tick(&mut self) {
        if let Some(poller) = &mut self.poller {
            poller.on_tick();
        }
        self.metrics.flush();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let plugin = self.poller.as_ref()?.plugin();
        Some(Box::new(Http(Request::new(plugin))))
    }
}

impl Drop for Root {
    /// There are no ticks after the last plugin is gone.
    fn drop(&mut self) {
        self.metrics.flush();
    }
}

struct Http(Request);

impl Context for Http {
    fn on_http_call_response(&mut self, _: u32, _: usize, _: usize, _: usize) {
        self.0.on_answer();
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> SdkAction {
        self.0.on_headers(end).into()
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> SdkAction {
        self.0.on_body(size, end).into()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> SdkAction {
        self.0.on_trailers().into()
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> SdkAction {
        self.0.on_response_headers();
        SdkAction::Continue
    }
}

impl From<Action> for SdkAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Continue => Self::Continue,
            Action::Pause => Self::Pause,
        }
    }
}
