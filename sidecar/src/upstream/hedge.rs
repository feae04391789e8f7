//! Requests that are not waited for until their time limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

/// How long an endpoint may be silent before another one is asked.
pub(crate) const HEDGE_DELAY: Duration = Duration::from_millis(300);

/// Requests that one endpoint has not answered. Each is a task of its own: not waiting for it does
/// not end it, so that an endpoint that hangs is found out by its time limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Sends a request, which counts until it has ended.
    pub(crate) fn send<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let counted = Counted::new(&self.0);
        tokio::spawn(async move {
            let answer = request.await;
            drop(counted);
            answer
        })
    }

    /// A request is not waited for any longer; it counts until it has ended.
    pub(crate) fn abandon<T: Send + 'static>(&self, request: JoinHandle<T>) {
        drop(self.send(request));
    }

    /// Whether the endpoint still owes an answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
