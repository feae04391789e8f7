//! Against messages of known hashes, and against blocks that Nitro's own ArbOS produced.

mod comparing;
mod copies;
mod deciding;
pub(crate) mod fixture;
mod reading;
mod verdicts;

use alloy_primitives::Bytes;
use serde_json::Value;

use super::FeedMessage;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../testdata/nitro.json")).unwrap()
}

fn golden() -> [Value; 3] {
    [
        include_str!("../../../../testdata/nitro_golden_10.json"),
        include_str!("../../../../testdata/nitro_golden_20.json"),
        include_str!("../../../../testdata/nitro_golden_32.json"),
    ]
    .map(|text| serde_json::from_str(text).unwrap())
}

fn bytes(value: &Value) -> Bytes {
    value.as_str().unwrap().parse().unwrap()
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value.as_str().unwrap().parse().unwrap()
}

fn feed(json: &Value) -> FeedMessage {
    FeedMessage::read(json.to_string().as_bytes()).unwrap()
}
