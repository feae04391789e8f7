//! The stream of headers, over WebSocket: one message per block, without end.

use axum::{
    extract::{Path, Request, State},
    response::Response,
};
use futures::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::Shared;
use crate::websocket::{self, Accepted};

pub(super) async fn headers(
    State(state): State<Shared>,
    Path(from): Path<u64>,
    request: Request,
) -> Response {
    websocket::accept(request, move |connection| stream(connection, state, from))
}

/// Sends the header of each block from that height on, until the client leaves.
async fn stream(mut connection: Accepted, state: Shared, from: u64) {
    let mut mined = state.lock().mined.subscribe();
    let mut next = from;
    loop {
        loop {
            let header = {
                let locked = state.lock();
                let answers = locked.answers(state.service);
                (next < answers.chain.height()).then(|| answers.header(next))
            };
            let Some(header) = header else { break };
            if connection.send(Message::text(header.to_string())).await.is_err() {
                return;
            }
            next += 1;
        }
        tokio::select! {
            changed = mined.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            message = connection.next() => {
                if !matches!(message, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}
