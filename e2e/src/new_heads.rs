//! A node's stream of new blocks (`eth_subscribe newHeads`) that does what a test wants. It knows
//! of no block.

use std::time::Duration;

use axum::{Router, extract::Request, routing::get};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    hotshot::StreamFault,
    ports::Server,
    websocket::{self, Accepted},
};

/// The stream, which is silent without a fault.
#[derive(Debug)]
pub struct NewHeads {
    server: Server,
    fault: watch::Sender<Option<StreamFault>>,
}

impl NewHeads {
    /// Serves it.
    pub async fn start() -> Self {
        let fault = watch::Sender::new(None);
        let faults = fault.clone();
        let accept = async move |request: Request| {
            let faults = faults.subscribe();
            websocket::accept(request, move |connection| stream(connection, faults))
        };
        Self { server: Server::start(Router::new().route("/", get(accept))).await, fault }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url().replace("http://", "ws://")
    }

    /// Sets or clears a fault.
    pub fn set_fault(&self, fault: Option<StreamFault>) {
        self.fault.send_replace(fault);
    }
}

async fn stream(mut connection: Accepted, mut faults: watch::Receiver<Option<StreamFault>>) {
    let mut number = 1_u64;
    loop {
        let fault = *faults.borrow_and_update();
        let pause = match fault {
            None | Some(StreamFault::Stalls) => Duration::MAX,
            Some(StreamFault::Dies) => return,
            Some(StreamFault::Lies) => Duration::from_millis(50),
            Some(StreamFault::Floods) => Duration::ZERO,
        };
        if pause < Duration::MAX {
            let result = json!({"number": format!("{number:#x}")});
            let message = json!({"jsonrpc": "2.0", "method": "eth_subscription",
                "params": {"subscription": "0x1", "result": result}});
            if connection.send(Message::text(message.to_string())).await.is_err() {
                return;
            }
            number += 1;
        }
        tokio::select! {
            changed = faults.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
            message = connection.next() => match message {
                Some(Ok(Message::Text(_))) => {
                    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": "0x1"});
                    if connection.send(Message::text(answer.to_string())).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                _ => return,
            }
        }
    }
}
