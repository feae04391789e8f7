//! Requests that are not waited for until their time limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::task::JoinHandle;

use super::UpstreamError;

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

/// The answer of one of several endpoints, by its index.
pub(crate) type Indexed<T> = (usize, Result<T, UpstreamError>);

/// The answers that come in time. Once `enough` of them are good, the others have [`HEDGE_DELAY`]
/// left. The `spare` endpoints are asked, too, if the first ones end without enough of them, or are
/// silent for that long.
pub(crate) async fn gather<T, S>(
    asked: impl IntoIterator<Item = JoinHandle<Indexed<T>>>,
    enough: usize,
    spare: impl FnOnce() -> S,
) -> Vec<Indexed<T>>
where
    S: IntoIterator<Item = JoinHandle<Indexed<T>>>,
{
    let mut asked: FuturesUnordered<_> = asked.into_iter().collect();
    let mut spare = Some(spare);
    let mut answers: Vec<Indexed<T>> = Vec::new();
    loop {
        let has_enough = answers.iter().filter(|(_, answer)| answer.is_ok()).count() >= enough;
        if asked.is_empty() {
            match spare.take().filter(|_| !has_enough) {
                Some(spare) => asked.extend(spare()),
                None => return answers,
            }
        }
        tokio::select! {
            biased;
            answer = asked.next() => match answer {
                Some(Ok(answer)) => answers.push(answer),
                // The runtime is going down.
                Some(Err(_)) => {}
                None => return answers,
            },
            () = tokio::time::sleep(HEDGE_DELAY), if has_enough || spare.is_some() => {
                match spare.take().filter(|_| !has_enough) {
                    Some(spare) => asked.extend(spare()),
                    None => return answers,
                }
            }
        }
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
