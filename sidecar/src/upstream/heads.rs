//! The stream of new blocks of an Ethereum node, `eth_subscribe newHeads`.

use serde::Deserialize;

use super::socket::{Channel, Heard};
use crate::eth::quantity;

const SUBSCRIBE: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;

#[derive(Deserialize)]
struct Notification {
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    result: NewHead,
}

#[derive(Deserialize)]
struct NewHead {
    #[serde(deserialize_with = "quantity")]
    number: u64,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "error")]
    _error: serde::de::IgnoredAny,
}

/// New blocks at the URL itself, once the chain is known.
pub(crate) fn new_heads() -> Channel {
    let path = |from| (from > 0).then(String::new);
    Channel { path, hello: Some(SUBSCRIBE), read: Box::new(read) }
}

fn read(message: &[u8]) -> Heard {
    if let Ok(head) = serde_json::from_slice::<Notification>(message) {
        return Heard::Height(head.params.result.number);
    }
    match serde_json::from_slice::<Refusal>(message) {
        Ok(_) => Heard::Refusal,
        Err(_) => Heard::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_heads_are_read_and_a_refusal_is_known() {
        let head = r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1",
            "result":{"number":"0x10","hash":"0x00","other":[1]}}}"#;
        assert_eq!(read(head.as_bytes()), Heard::Height(16));
        let error = r#"{"id":1,"error":{"code":-32601,"message":"no"}}"#;
        assert_eq!(read(error.as_bytes()), Heard::Refusal);
        for nothing in [r#"{"id":1,"result":"0x1"}"#, "", "[]", r#"{"params":{"result":{}}}"#] {
            assert_eq!(read(nothing.as_bytes()), Heard::Nothing, "{nothing}");
        }
    }
}
