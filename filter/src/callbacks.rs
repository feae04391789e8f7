//! What the host calls: the exports of the module, and the contexts that they are routed to.
//!
//! Only the callbacks that this filter needs are exported, since Envoy enters the VM for each one
//! that exists. A call for a context that is gone does nothing.

// An export needs an attribute that counts as unsafe; there is no other unsafe code here.
#![allow(unsafe_code)]

use std::{cell::RefCell, rc::Rc};

use finality_core::build;

use crate::{
    host::{self, Buffer, Level},
    metrics::Metrics,
    plugin::Plugin,
    poller::Poller,
    request::{Action, Request},
};

thread_local! {
    static VM: RefCell<Vm> = RefCell::default();
}

/// The contexts of this VM.
#[derive(Debug, Default)]
struct Vm {
    /// Defined once: a VM takes many configurations in turn, and the host keeps what each
    /// definition takes as long as the VM.
    metrics: Option<Rc<Metrics>>,
    /// The plugins by their root contexts: one, and more only while old configurations drain.
    pollers: Vec<(u32, Poller)>,
    /// The requests by their contexts, in order. A new one has the highest, so that all but the
    /// oldest, of which many may wait, stand near the end.
    requests: Vec<(u32, Request)>,
}

impl Vm {
    /// Does something with the contexts; nothing where they are not to be had.
    fn with<R: Default>(act: impl FnOnce(&mut Self) -> R) -> R {
        VM.try_with(|vm| vm.try_borrow_mut().map(|mut vm| act(&mut vm)).unwrap_or_default())
            .unwrap_or_default()
    }

    fn with_request(context: u32, act: impl FnOnce(&mut Request) -> Action) -> u32 {
        let act = |vm: &mut Self| {
            let place = vm.place(context).ok()?;
            vm.requests.get_mut(place).map(|(_, request)| act(request))
        };
        Self::with(act).unwrap_or(Action::Continue) as u32
    }

    /// Where the request of a context stands, or would stand.
    fn place(&self, context: u32) -> Result<usize, usize> {
        self.requests.binary_search_by_key(&context, |(context, _)| *context)
    }

    fn poller(&mut self, root: u32) -> Option<&mut Poller> {
        self.pollers.iter_mut().find(|(context, _)| *context == root).map(|(_, poller)| poller)
    }

    /// What was counted becomes visible. There are no ticks after the last poller is gone.
    fn tell(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.tell();
        }
    }

    fn configure(&mut self, root: u32) -> bool {
        let configuration = match host::buffer(Buffer::PluginConfiguration, usize::MAX) {
            Ok(configuration) => configuration,
            Err(error) => {
                host::log(Level::Error, &format!("configuration cannot be read: {error}"));
                return false;
            }
        };
        let metrics = self.metrics.get_or_insert_with(|| Rc::new(Metrics::define()));
        match Plugin::new(&configuration, Rc::clone(metrics)) {
            Ok(plugin) => {
                let poller = Poller::start(Rc::new(plugin), root, &configuration);
                self.pollers.retain(|(context, _)| *context != root);
                self.pollers.push((root, poller));
                true
            }
            Err(error) => {
                host::log(Level::Error, &format!("configuration refused: {error}"));
                false
            }
        }
    }
}

/// Marks the version of the ABI that is spoken here.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Called once for a VM, before anything else.
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    // A host in a native test begins with this again.
    Vm::with(|vm| *vm = Vm::default());
    // Nothing here should panic. If something does, the log tells where. Native tests keep their
    // own hook.
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| host::log(Level::Critical, &panic.to_string())));
}

/// The host wants memory of this module to put an answer into.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    host::allocate(size)
}

/// The VM starts.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(_root: u32, _configuration_size: usize) -> u32 {
    host::log(Level::Info, &format!("finality-filter {}", build::LINE));
    1
}

/// The configuration of a plugin is there: 1 takes it, 0 refuses it.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(root: u32, _configuration_size: usize) -> u32 {
    u32::from(Vm::with(|vm| vm.configure(root)))
}

/// A root context (its `root` is 0) or a request begins.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    Vm::with(|vm| {
        if let Some(poller) = vm.poller(root) {
            let request = Request::new(poller.plugin());
            match vm.place(context) {
                Ok(place) => drop(vm.requests.get_mut(place).map(|known| known.1 = request)),
                Err(place) => vm.requests.insert(place, (context, request)),
            }
        }
    });
}

/// A context is gone.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_delete(context: u32) {
    Vm::with(|vm| match vm.place(context) {
        Ok(place) => drop(vm.requests.remove(place)),
        Err(_) => {
            vm.pollers.retain(|(root, _)| *root != context);
            vm.tell();
        }
    });
}

/// The tick of a plugin.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(root: u32) {
    Vm::with(|vm| {
        if let Some(poller) = vm.poller(root) {
            poller.on_tick();
        }
        vm.tell();
    });
}

/// The answer to a call has come: to a poll, or to what a request has asked.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_http_call_response(
    root: u32,
    token: u32,
    _headers: usize,
    _body_size: usize,
    _trailers: usize,
) {
    Vm::with(|vm| {
        let asking = vm.requests.iter_mut().find(|(_, request)| request.asks(token));
        if let Some((context, request)) = asking {
            request.on_answer(*context);
        } else if let Some(poller) = vm.poller(root) {
            poller.on_answer(token);
        }
    });
}

/// The headers of a request have come.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(context: u32, _count: usize, end: u32) -> u32 {
    Vm::with_request(context, |request| request.on_headers(end != 0))
}

/// A part of a request's body has come; `size` counts all that is buffered.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_body(context: u32, size: usize, end: u32) -> u32 {
    Vm::with_request(context, |request| request.on_body(size, end != 0))
}

/// The trailers of a request have come, and with them its end.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_trailers(context: u32, _count: usize) -> u32 {
    Vm::with_request(context, Request::on_trailers)
}

/// The headers of a response have come.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(context: u32, _count: usize, _end: u32) -> u32 {
    Vm::with_request(context, |request| request.on_response_headers())
}
