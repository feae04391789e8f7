//! The stream of headers, over WebSocket: one message per block, without end.

use std::time::Duration;

use axum::{
    extract::{Path, Request, State},
    response::Response,
};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{Shared, StreamFault};
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
    let mut pause = Duration::MAX;
    loop {
        let (fault, header) = {
            let locked = state.lock();
            let answers = locked.answers(state.service);
            let is_there = next < answers.chain.height();
            (locked.stream_fault, is_there.then(|| answers.header(next)))
        };
        let message = match fault {
            None => header.map(|header| header.to_string()),
            Some(StreamFault::Stalls) => None,
            Some(StreamFault::Dies) => return,
            Some(StreamFault::Lies | StreamFault::Floods) => {
                let often = fault == Some(StreamFault::Floods);
                pause = if often { Duration::ZERO } else { Duration::from_millis(50) };
                Some(json!({"fields": {"height": next}}).to_string())
            }
        };
        if let Some(message) = message {
            if connection.send(Message::text(message)).await.is_err() {
                return;
            }
            next += 1;
            if fault.is_none() {
                continue;
            }
        } else {
            pause = Duration::MAX;
        }
        tokio::select! {
            changed = mined.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(pause) => {}
            message = connection.next() => {
                if !matches!(message, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}
