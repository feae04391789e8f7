//! Writing a [`Refusal`] as the JSON-RPC answer that a client gets, or, where only the node can
//! answer, as what makes the node refuse.
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
    one(id, &error_member(refusal))
}

/// One error object with the id `null`: for a body whose ids cannot be told, since it was not read,
/// is not JSON or is beyond a limit.
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
    many(ids, &error_member(refusal))
}

/// What goes to the node in place of the refused request with this id, where the client cannot be
/// answered from here: a call of a method that no node has, so that the node's own error (-32601)
/// bears the id. The name of the method ends in the reason, since some nodes repeat it.
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

/// An array of such calls, one for each id, in order. No ids: empty, since nobody waits for an
/// answer.
#[must_use]
pub fn unknown_calls<'a>(ids: impl IntoIterator<Item = &'a [u8]>, refusal: &Refusal) -> Vec<u8> {
    many(ids, &method_member(refusal))
}

fn method_member(refusal: &Refusal) -> String {
    format!(r#""method":"finality_refused_{}""#, refusal.reason())
}

fn error_member(refusal: &Refusal) -> String {
    // A map of serde_json may be sorted or not, by features that others choose; the order here is
    // fixed.
    format!(
        r#""error":{{"code":{},"message":{},"data":{{"reason":{}}}}}"#,
        refusal.code(),
        quoted(&refusal.message()),
        quoted(refusal.reason())
    )
}

/// A JSON string. Writing one into memory does not fail.
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
