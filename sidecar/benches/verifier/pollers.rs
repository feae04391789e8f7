//! The way of a head from the sidecar's memory to those that poll for it.

use std::time::Duration;

use finality_core::head::Status;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::Instant,
};

use super::{steady::Percentiles, support::api::Served};

#[derive(Debug, Serialize)]
pub(crate) struct Way {
    pollers: usize,
    heads: u64,
    /// From the publication to each poller's whole answer.
    answered_after_ms: Percentiles,
    /// To the last one's.
    all_answered_after_ms: Percentiles,
}

/// Publishes heads, one by one, each as soon as all poll for it.
pub(crate) async fn measure(pollers: usize, heads: u64) -> Way {
    eprintln!("{pollers} pollers");
    let served = Served::with_room(pollers + 100).await;
    served.publish(0, Status::Ok);
    let (sender, mut answers) = mpsc::unbounded_channel();
    for _ in 0..pollers {
        let (mut stream, sender) = (served.connect().await, sender.clone());
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            for known in 0..heads {
                let path = format!("/v1/head?after={known}&status=ok&wait=25s");
                let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut length = 0;
                while !buffer[..length].ends_with(b"}") {
                    length += stream.read(&mut buffer[length..]).await.unwrap();
                }
                sender.send(Instant::now()).unwrap();
            }
        });
    }
    let (mut each, mut all) = (Vec::new(), Vec::new());
    for number in 1..=heads {
        served.polls_are_held(pollers).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let published = Instant::now();
        served.publish(number, Status::Ok);
        let mut last = 0.0_f64;
        for _ in 0..pollers {
            let answered = answers.recv().await.unwrap();
            let took = answered.duration_since(published).as_secs_f64() * 1000.0;
            each.push(took);
            last = last.max(took);
        }
        all.push(last);
    }
    let (answered_after_ms, all_answered_after_ms) = (Percentiles::of(each), Percentiles::of(all));
    Way { pollers, heads, answered_after_ms, all_answered_after_ms }
}
