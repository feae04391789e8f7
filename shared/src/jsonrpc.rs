//! Writes a [`Refusal`] as a JSON-RPC error for the client or, where only the node can respond, as
//! a call that the node rejects.
//!
//! Ids are echoed byte for byte, so that big numbers and escapes survive.

use crate::refusal::Refusal;

/// The id of an error for a request whose id is unknown (JSON-RPC 2.0, section 5).
pub(crate) const NULL: &[u8] = b"null";

/// An error object for one request. `id` is the raw JSON of the request's id.
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
    one(id, &error_member(refusal))
}

/// An error object with the id `null`, for a body whose ids are unknown because it was not read or
/// is not JSON.
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

/// An array of error objects, one for each id, in order. Empty if there are no ids: a batch of
/// notifications gets no response.
#[must_use]
pub fn errors<'a>(ids: impl IntoIterator<Item = &'a [u8]>, refusal: &Refusal) -> Vec<u8> {
    many(ids, &error_member(refusal))
}

/// A call of a method that no node has. It takes the place of a refused request where the client
/// cannot be answered directly: the node's own error (-32601) then carries the id. The method name
/// ends with the reason, which some nodes repeat in their error.
///
/// ```
/// use finality_core::{jsonrpc, refusal::{NoHead, Refusal}};
///
/// let call = jsonrpc::unknown_call(b"7", &Refusal::NoHead(NoHead::Unknown));
/// assert_eq!(call, br#"{"jsonrpc":"2.0","id":7,"method":"finality_refused_no_head"}"#);
/// ```
#[must_use]
pub fn unknown_call(id: &[u8], refusal: &Refusal) -> Vec<u8> {
    one(id, &method_member(refusal))
}

/// An array of [`unknown_call`]s, one for each id, in order. Empty if there are no ids: a batch of
/// notifications gets no response.
#[must_use]
pub fn unknown_calls<'a>(ids: impl IntoIterator<Item = &'a [u8]>, refusal: &Refusal) -> Vec<u8> {
    many(ids, &method_member(refusal))
}

fn method_member(refusal: &Refusal) -> String {
    format!(r#""method":"finality_refused_{}""#, refusal.reason())
}

fn error_member(refusal: &Refusal) -> String {
    // Not serde_json's map: whether it keeps the order depends on a feature that any crate of the
    // build may turn on.
    format!(
        r#""error":{{"code":{},"message":{},"data":{{"reason":{}}}}}"#,
        refusal.code(),
        quoted(&refusal.message()),
        quoted(refusal.reason())
    )
}

/// Quotes a text as a JSON string. Writing a string to memory cannot fail.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

fn one(id: &[u8], member: &str) -> Vec<u8> {
    let mut text = Vec::new();
    write(&mut text, id, member);
    text
}

fn many<'a>(ids: impl IntoIterator<Item = &'a [u8]>, member: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for id in ids {
        text.push(if text.is_empty() { b'[' } else { b',' });
        write(&mut text, id, member);
    }
    if !text.is_empty() {
        text.push(b']');
    }
    text
}

fn write(text: &mut Vec<u8>, id: &[u8], member: &str) {
    text.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    text.extend_from_slice(id);
    text.push(b',');
    text.extend_from_slice(member.as_bytes());
    text.push(b'}');
}
