//! Writing a [`Refusal`] as the JSON-RPC answer that a client gets.
//!
//! Ids are echoed as the bytes that came, so that big numbers and escapes survive.

use crate::refusal::Refusal;

/// The id of an answer to a request whose id is unknown.
const NULL: &[u8] = b"null";

/// One error object for the request with this id. `id` is the raw JSON of the id as it came.
///
/// ```
/// use finality_core::{jsonrpc, refusal::{NoHead, Refusal}};
///
/// let answer = jsonrpc::error(b"7", &Refusal::NoHead(NoHead::Unknown));
/// assert_eq!(
///     String::from_utf8(answer).unwrap(),
///     r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32055,"message":"no finality head is known yet: retry later","data":{"reason":"no_head"}}}"#
/// );
/// ```
#[must_use]
pub fn error(id: &[u8], refusal: &Refusal) -> Vec<u8> {
    let mut answer = Vec::new();
    write(&mut answer, id, &detail(refusal));
    answer
}

/// One error object with the id `null`: for a body whose ids cannot be told, since it was not read, is
/// not JSON or is beyond a limit.
///
/// ```
/// use finality_core::{jsonrpc, refusal::Refusal};
///
/// let answer = jsonrpc::error_without_id(&Refusal::BodyTooLarge { limit: 1_000_000 });
/// assert!(answer.starts_with(br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"#));
/// ```
#[must_use]
pub fn error_without_id(refusal: &Refusal) -> Vec<u8> {
    error(NULL, refusal)
}

/// An array of error objects, one for each id, in order. No ids: an empty answer, since a batch of
/// notifications is not answered.
#[must_use]
pub fn errors<'a>(ids: impl IntoIterator<Item = &'a [u8]>, refusal: &Refusal) -> Vec<u8> {
    let detail = detail(refusal);
    let mut answer = Vec::new();
    for id in ids {
        answer.push(if answer.is_empty() { b'[' } else { b',' });
        write(&mut answer, id, &detail);
    }
    if !answer.is_empty() {
        answer.push(b']');
    }
    answer
}

/// The `error` member.
fn detail(refusal: &Refusal) -> String {
    // A map of serde_json may be sorted or not, by features that others choose; the order here is fixed.
    format!(
        r#"{{"code":{},"message":{},"data":{{"reason":{}}}}}"#,
        refusal.code(),
        quoted(&refusal.message()),
        quoted(refusal.reason())
    )
}

/// A JSON string. Writing one into memory does not fail.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

fn write(answer: &mut Vec<u8>, id: &[u8], detail: &str) {
    answer.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    answer.extend_from_slice(id);
    answer.extend_from_slice(br#","error":"#);
    answer.extend_from_slice(detail.as_bytes());
    answer.push(b'}');
}
