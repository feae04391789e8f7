//! Connections: their number, their time limits, and how they are closed.
//!
//! When all places are taken, the connection that is idle for the longest time makes room. When all
//! are busy, a few more connections are accepted for one request each: probes are answered, and
//! anything else gets a 503.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{
    body::{Bytes, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_io_timeout::TimeoutWriter;

use super::{
    Phase,
    places::{Busy, Place, Places},
};

/// Time limit for request headers, including the idle time before them.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for a connection beyond the limit.
const EXCESS_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for a write: a client that does not read its response must not keep its connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of request headers, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// Pause after a failure to accept, for example when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time limit at shutdown for a request that is still arriving.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(1);
/// Connections beyond the limit.
pub const EXCESS: usize = 32;

/// Marks a request on a connection beyond the limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Excess;

/// Serves at most `max_connections`, and [`EXCESS`] for probes, until the phase is
/// [`Phase::Closing`] (or can no longer change). Then finishes requests in flight, for `limit` at
/// most.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    mut phase: watch::Receiver<Phase>,
    limit: Duration,
) {
    let (places, excess) = (Places::new(max_connections), Places::new(EXCESS));
    let connections = GracefulShutdown::new();
    let closing = phase.wait_for(|phase| *phase == Phase::Closing);
    tokio::pin!(closing);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut closing => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = places.take();
        let is_excess = place.is_none();
        // Without a place at all, the connection is closed.
        let Some(place) = place.or_else(|| excess.take()) else { continue };
        let connection = connection(stream, router.clone(), place.clone(), is_excess);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                // Client disconnects are not our error.
                _ = connection => {}
                () = place.ended() => {}
            }
        });
    }
    drop(listener);
    let finished = async {
        let finished = connections.shutdown();
        tokio::pin!(finished);
        if tokio::time::timeout(ARRIVAL_LIMIT, &mut finished).await.is_err() {
            places.end_idle();
            excess.end_idle();
            finished.await;
        }
    };
    if tokio::time::timeout(limit, finished).await.is_err() {
        tracing::warn!("some requests did not finish within shutdown_limit");
    }
}

type Stream = TokioIo<Pin<Box<TimeoutWriter<TcpStream>>>>;

/// The connection of a client, which is busy from a request to the end of its response.
fn connection(
    stream: TcpStream,
    router: Router,
    place: Place,
    is_excess: bool,
) -> http1::Connection<
    Stream,
    impl Service<
        hyper::Request<Incoming>,
        Response = hyper::Response<BusyBody>,
        Error = Infallible,
        Future: Send,
    >,
> {
    // Responses are small and latency matters; failing to set it is no reason to drop the client.
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(WRITE_TIMEOUT));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let busy = place.busy();
        let mut request: Request = request.map(Body::new);
        if is_excess {
            request.extensions_mut().insert(Excess);
        }
        let response = router.call(request);
        async move {
            let response: Response = response.await?;
            Ok(response.map(|body| BusyBody { body, _busy: busy }))
        }
    });
    let header_timeout = if is_excess { EXCESS_HEADER_TIMEOUT } else { HEADER_TIMEOUT };
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(HEADER_BYTES)
        .keep_alive(!is_excess)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
}

/// The body of a response, which keeps its connection busy.
struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
