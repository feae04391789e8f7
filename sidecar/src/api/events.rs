//! `/v1/events`: the status as server-sent events, for the status page.
//!
//! An event is made when the client has room for it, from the status at that moment: a slow client
//! gets fewer events, and nothing queues up for it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures::{future::BoxFuture, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{ApiState, Phase, error, status::StatusSource};

/// The longest pause between two events. A client that receives nothing for several of these has
/// lost the sidecar.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The shortest pause, however fast the head moves.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// Maximum number of streams, however many connections are allowed.
const MOST_STREAMS: usize = 64;
/// The connections for each stream: the rest are for the filter and for probes.
const SHARE: usize = 4;
/// Seconds after which a refused client may retry.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Room for streams.
#[derive(Debug, Clone)]
pub struct Streams(Arc<Semaphore>);

impl Streams {
    /// Room for a fraction of `max_connections`, and for one stream at least.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        let most = (max_connections / SHARE).clamp(1, MOST_STREAMS);
        Self(Arc::new(Semaphore::new(most)))
    }
}

/// One client's stream.
struct Subscription {
    status: Arc<dyn StatusSource>,
    /// Ends when there is something new since the last event; none before the first one.
    change: Option<BoxFuture<'static, ()>>,
    phase: watch::Receiver<Phase>,
    _place: OwnedSemaphorePermit,
}

impl Subscription {
    /// The next event; none when the sidecar closes.
    async fn next(&mut self) -> Option<Event> {
        if let Some(change) = self.change.take() {
            let news = async {
                tokio::time::sleep(SHORTEST_PAUSE).await;
                let rest = LONGEST_PAUSE.saturating_sub(SHORTEST_PAUSE);
                drop(tokio::time::timeout(rest, change).await);
            };
            tokio::select! {
                biased;
                _ = self.phase.wait_for(|phase| *phase == Phase::Closing) => return None,
                () = news => {}
            }
        }
        if *self.phase.borrow() == Phase::Closing {
            return None;
        }
        self.change = Some(self.status.changed());
        Some(Event::default().event("status").data(self.status.status().to_string()))
    }
}

pub(super) async fn events(State(state): State<ApiState>) -> Response {
    let Ok(place) = Arc::clone(&state.streams.0).try_acquire_owned() else {
        let reason =
            "too many event streams are open; their limit is a fraction of max_connections";
        let answer = error(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", reason);
        return ([(header::RETRY_AFTER, RETRY_AFTER)], answer).into_response();
    };
    let subscription =
        Subscription { status: state.status, change: None, phase: state.phase, _place: place };
    let events = stream::unfold(subscription, async |mut subscription| {
        let event = subscription.next().await?;
        Some((Ok::<_, Infallible>(event), subscription))
    });
    // A proxy that buffers responses would delay the events.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    ([unbuffered], Sse::new(events)).into_response()
}
