//! Connections: how many, how slow they may be, and how they end.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_io_timeout::TimeoutWriter;

use super::Phase;

/// Longest time that a client may take for a request's head, idle time before it included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time that a client may take to read a part of an answer: one that asks and does not read
/// must not keep its place.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of a request, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// Pause after a failure to accept, for instance when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the phase is [`Phase::Closing`] (or nobody is left to change it), then finishes
/// what is in flight, for `limit` at most.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    mut phase: watch::Receiver<Phase>,
    limit: Duration,
) {
    let places = Arc::new(Semaphore::new(max_connections));
    let connections = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(HEADER_BYTES);
    let closing = phase.wait_for(|phase| *phase == Phase::Closing);
    tokio::pin!(closing);
    loop {
        let accepted = async {
            // Beyond the limit new connections wait in the system's queue.
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, io::Error>((place, stream))
        };
        let accepted = tokio::select! {
            biased;
            _ = &mut closing => break,
            accepted = accepted => accepted,
        };
        let (place, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small answers that somebody waits for; that it cannot be set is no reason to drop the
        // client.
        drop(stream.set_nodelay(true));
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(WRITE_TIMEOUT));
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that goes away is its own affair.
            drop(connection.await);
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limit, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests were not finished within shutdown_limit");
    }
}
