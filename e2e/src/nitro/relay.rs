//! Espresso's posting service, as far as HotShot sees it: posts what the sequencer's feed tells, as
//! it is. So a real Nitro node can stand where the fixture does.

use std::time::Duration;

use futures::StreamExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::connect_async;

use super::payloads;

/// The pause before a new connection.
const PAUSE: Duration = Duration::from_millis(200);

/// A message on the connection. Those without messages of the feed say what is confirmed.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    messages: Vec<&'a RawValue>,
}

/// Posts each frame of the feed at `url` in a payload, for ever.
pub async fn relay(url: &str, post: impl Fn(Vec<u8>)) {
    loop {
        if let Ok((mut connection, _)) = connect_async(url).await {
            while let Some(Ok(message)) = connection.next().await {
                let Ok(text) = message.to_text() else { continue };
                if let Some(payload) = payload(text) {
                    post(payload);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The payload for a frame, if it has messages.
fn payload(frame: &str) -> Option<Vec<u8>> {
    let frame: Frame<'_> = serde_json::from_str(frame).ok()?;
    (!frame.messages.is_empty())
        .then(|| payloads::v1_texts(frame.messages.iter().map(|message| message.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_posted_as_they_are() {
        let message = r#"{"sequenceNumber": 7, "unknown":[1 ]}"#;
        let frame = format!(r#"{{"version":1,"messages":[{message},{message}]}}"#);
        let payload = payload(&frame).unwrap();
        assert!(payload.ends_with(message.as_bytes()));
        assert_eq!(payload, payloads::v1_texts([message, message].into_iter()));
        for other in [r#"{"version":1,"confirmedSequenceNumberMessage":{}}"#, "[]", ""] {
            assert_eq!(super::payload(other), None);
        }
    }
}
