//! Connections: their number, their time limits, and how they are closed.

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

/// Time limit for request headers, including the idle time before them.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Time limit for a write: a client that does not read its response must not keep its connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of request headers, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// Pause after a failure to accept, for example when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the phase is [`Phase::Closing`] (or can no longer change), then finishes requests
/// in flight, for `limit` at most.
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
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Responses are small and latency matters; failing to set it is no reason to drop the
        // client.
        drop(stream.set_nodelay(true));
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(WRITE_TIMEOUT));
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // Client disconnects are not our error.
            drop(connection.await);
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limit, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish within shutdown_limit");
    }
}
