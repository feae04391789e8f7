//! The answer of the namespace range endpoint, believed: the listed transactions.
//!
//! Anybody may post to the namespace, and the answer is foreign: it is decoded as it is read,
//! without anything that grows by more than the payloads do.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::NamespaceBlock;

/// Reads the answer for `count` blocks and checks its consistency; nothing in it is proven.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read_range(body: &[u8], namespace: u32, count: u64) -> Result<Vec<NamespaceBlock>, String> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let blocks = Blocks { namespace, count }.deserialize(&mut reader);
    blocks.and_then(|blocks| reader.end().map(|()| blocks)).map_err(|error| error.to_string())
}

/// Whether the answer for one block shows the namespace in it, which is when it has a proof.
///
/// # Errors
/// What is wrong with it, in words.
pub fn is_present(body: &[u8]) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Element<'a> {
        #[serde(borrow)]
        proof: Option<&'a RawValue>,
    }
    let [element]: [Element<'_>; 1] =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(element.proof.is_some())
}

/// An answer: an element per block.
struct Blocks {
    namespace: u32,
    count: u64,
}

impl<'de> DeserializeSeed<'de> for Blocks {
    type Value = Vec<NamespaceBlock>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Blocks {
    type Value = Vec<NamespaceBlock>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let Self { namespace, count } = self;
        let mut blocks = Vec::new();
        while let Some(block) = elements.next_element_seed(Element { namespace })? {
            if blocks.len() as u64 == count {
                return Err(A::Error::custom(format_args!("more than {count} elements")));
            }
            blocks.push(block);
        }
        if blocks.len() as u64 == count {
            return Ok(blocks);
        }
        Err(A::Error::custom(format_args!("{} elements for {count} blocks", blocks.len())))
    }
}

/// The element of one block.
struct Element {
    namespace: u32,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum ElementMember {
    Proof,
    Transactions,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Element {
    type Value = NamespaceBlock;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Element {
    type Value = NamespaceBlock;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the transactions of a block")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut proof, mut block) = (None::<&RawValue>, None);
        while let Some(member) = members.next_key()? {
            match member {
                ElementMember::Proof => proof = members.next_value()?,
                ElementMember::Transactions if block.is_some() => {
                    return Err(A::Error::duplicate_field("transactions"));
                }
                ElementMember::Transactions => {
                    let Self { namespace } = self;
                    block = Some(members.next_value_seed(Transactions { namespace })?);
                }
                ElementMember::Other => _ = members.next_value::<IgnoredAny>()?,
            }
        }
        let block = block.ok_or_else(|| A::Error::missing_field("transactions"))?;
        check_proof(proof, &block).map_err(A::Error::custom)?;
        Ok(block)
    }
}

/// The form of the proof depends on the block's dispersal scheme; older API versions give it bare,
/// which shows nothing.
#[derive(Deserialize)]
struct Proofs<'a> {
    #[serde(borrow, rename = "V1")]
    v1: Option<NamespaceProof<'a>>,
    #[serde(borrow, rename = "V2")]
    v2: Option<NamespaceProof<'a>>,
    #[serde(rename = "V1IncorrectEncoding")]
    v1_incorrect: Option<IgnoredAny>,
    #[serde(rename = "V2IncorrectEncoding")]
    v2_incorrect: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct NamespaceProof<'a> {
    #[serde(borrow)]
    ns_payload: Cow<'a, str>,
}

fn check_proof(proof: Option<&RawValue>, block: &NamespaceBlock) -> Result<(), String> {
    let Some(proof) = proof else {
        let is_empty = block.is_empty();
        return if is_empty { Ok(()) } else { Err("transactions without a proof".into()) };
    };
    if !proof.get().starts_with('{') {
        return Ok(());
    }
    let proofs: Proofs<'_> =
        serde_json::from_str(proof.get()).map_err(|error| format!("proof: {error}"))?;
    // The block was dispersed wrongly, so the namespace counts as empty.
    let is_incorrect = proofs.v1_incorrect.is_some() || proofs.v2_incorrect.is_some();
    if is_incorrect && !block.is_empty() {
        return Err("transactions in a wrongly dispersed block".into());
    }
    for proof in [proofs.v1, proofs.v2].into_iter().flatten() {
        let payload =
            STANDARD.decode(&*proof.ns_payload).map_err(|error| format!("proof: {error}"))?;
        if is_in(block, payload) == Some(false) {
            return Err("the transactions are not those of the proof".into());
        }
    }
    Ok(())
}

/// The transactions of one block.
struct Transactions {
    namespace: u32,
}

#[derive(Deserialize)]
struct Transaction<'a> {
    namespace: u32,
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

impl<'de> DeserializeSeed<'de> for Transactions {
    type Value = NamespaceBlock;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Transactions {
    type Value = NamespaceBlock;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of transactions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        while let Some(Transaction { namespace, payload }) = elements.next_element()? {
            if namespace != self.namespace {
                let problem = format_args!("a transaction of namespace {namespace}");
                return Err(A::Error::custom(problem));
            }
            let decoded = STANDARD.decode_vec(&*payload, &mut bytes);
            decoded.map_err(|error| A::Error::custom(format_args!("payload: {error}")))?;
            let too_long = |_| A::Error::custom("payloads of more than 4 GiB");
            ends.push(u32::try_from(bytes.len()).map_err(too_long)?);
        }
        Ok(NamespaceBlock::one_after_the_other(bytes, &ends))
    }
}

/// Whether a namespace payload has these payloads: u32 count, as many u32 end offsets, then the
/// bodies, all little endian. None for a malformed one: builders may write those, and here it
/// stands beside the list that a service made of it.
fn is_in(block: &NamespaceBlock, payload: Vec<u8>) -> Option<bool> {
    let (count, rest) = payload.split_first_chunk::<4>()?;
    let table_length = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
    let (table, bodies) = rest.split_at_checked(table_length)?;
    let ends = table.as_chunks::<4>().0.iter().map(|end| u32::from_le_bytes(*end));
    let last = usize::try_from(ends.clone().next_back().unwrap_or(0)).ok()?;
    let is_well_formed = ends.clone().is_sorted() && last == bodies.len();
    is_well_formed.then(|| NamespaceBlock::of_payload(payload) == *block)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../testdata/namespace_range.json")).unwrap()
    }

    fn read(body: &Value, count: u64) -> Result<Vec<NamespaceBlock>, String> {
        let namespace = vectors()["namespace"].as_u64().unwrap() as u32;
        read_range(body.to_string().as_bytes(), namespace, count)
    }

    #[test]
    fn both_kinds_of_proof_are_read_and_agree_with_the_listed_transactions() {
        let vectors = vectors();
        let v1 = read(&vectors["response_v1_proof"], 2).unwrap();
        assert_eq!(v1[0].payloads().len(), 6);
        assert!(v1[0].payloads().all(|payload| payload.len() == 256));
        assert_eq!(v1[1].payloads().len(), 0, "an absent namespace is an empty block");
        let v2 = read(&vectors["response_v2_proof"], 1).unwrap();
        assert_eq!(v1[0], v2[0]);
        let payload = &vectors["response_v1_proof"][0]["proof"]["V1"]["ns_payload"];
        let payload = STANDARD.decode(payload.as_str().unwrap()).unwrap();
        assert_eq!(payload.len() as u64, vectors["ns_payload_len"].as_u64().unwrap());
        assert_eq!(is_in(&v1[0], payload.clone()), Some(true));
        assert_eq!(is_in(&v1[1], payload), Some(false));
    }

    #[test]
    fn a_wrongly_dispersed_block_is_empty() {
        let body = &vectors()["response_incorrect_encoding_shape"];
        let count = body.as_array().unwrap().len() as u64;
        assert!(read(body, count).unwrap().iter().all(|block| block.payloads().len() == 0));
    }

    #[test]
    fn a_bare_proof_of_the_old_api_is_accepted() {
        let body = json!([{"proof": {"anything": 1},
            "transactions": [{"namespace": 12_648_430, "payload": "AA=="}]}]);
        assert!(read(&body, 1).unwrap()[0].payloads().eq([[0]]));
    }

    #[test]
    fn hostile_answers_are_errors() {
        let vectors = vectors();
        for case in vectors["adversarial"].as_array().unwrap() {
            let asked = &case["asked"];
            let count = match (asked["from"].as_u64(), asked["until"].as_u64()) {
                (Some(from), Some(until)) => until - from,
                _ => case["body"].as_array().unwrap().len() as u64,
            };
            assert!(read(&case["body"], count).is_err(), "{}", case["why"]);
        }
        for body in [
            json!({}),
            json!(null),
            json!([{}]),
            json!([{"proof": null}]),
            json!([1]),
            json!([{"proof": {"V1": {"ns_payload": 5}}, "transactions": []}]),
            json!([{"proof": {"V1": {}}, "transactions": []}]),
        ] {
            assert!(read(&body, 1).is_err(), "{body}");
        }
    }

    #[test]
    fn a_malformed_namespace_payload_gives_no_verdict() {
        for payload in
            [&[][..], &[1, 0, 0, 0], &[255, 255, 255, 255, 1], &[1, 0, 0, 0, 9, 0, 0, 0, 1]]
        {
            assert_eq!(is_in(&NamespaceBlock::default(), payload.to_vec()), None);
        }
        assert_eq!(is_in(&NamespaceBlock::default(), vec![0; 4]), Some(true));
    }
}
