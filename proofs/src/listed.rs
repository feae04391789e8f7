//! The answer of the namespace range endpoint, believed: the listed transactions.
//!
//! Anybody may post to the namespace, and the answer is foreign: it is decoded as it is read,
//! without anything that grows by more than the payloads do.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
};
use serde_json::value::RawValue;

use crate::{
    NamespaceBlock,
    base64::{append_base64, decode_base64, stands_for},
};

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
        let (mut proof, mut block, mut is_compared) = (Proof::Absent, None, false);
        while let Some(member) = members.next_key()? {
            match member {
                ElementMember::Proof => (proof, is_compared) = (members.next_value()?, false),
                ElementMember::Transactions if block.is_some() => {
                    return Err(A::Error::duplicate_field("transactions"));
                }
                ElementMember::Transactions => {
                    let (namespace, proven) = (self.namespace, proof.block());
                    is_compared = proven.is_some();
                    block = Some(members.next_value_seed(Transactions { namespace, proven })?);
                }
                ElementMember::Other => _ = members.next_value::<IgnoredAny>()?,
            }
        }
        let block = block.ok_or_else(|| A::Error::missing_field("transactions"))?;
        if !is_compared {
            proof.check(&block).map_err(A::Error::custom)?;
        }
        Ok(block)
    }
}

/// What stands beside the transactions.
enum Proof<'a> {
    Absent,
    /// Older versions of the API give it bare, which shows nothing.
    Bare,
    /// The form depends on the block's dispersal scheme.
    Tagged(Box<Proofs<'a>>),
}

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

impl NamespaceProof<'_> {
    /// What the namespace has by its bytes. None if they are malformed: builders may write such,
    /// and here they stand beside the list that a service made of them.
    fn block(&self) -> Result<Option<NamespaceBlock>, String> {
        let payload = decode_base64(&self.ns_payload);
        let payload = payload.map_err(|error| format!("proof: {error}"))?;
        Ok(is_well_formed(&payload).then(|| NamespaceBlock::of_payload(payload)))
    }
}

const NOT_PROVEN: &str = "the transactions are not those of the proof";

impl Proof<'_> {
    /// What the namespace has by its bytes, if they are well-formed.
    fn block(&self) -> Option<NamespaceBlock> {
        let Self::Tagged(proofs) = self else { return None };
        match &**proofs {
            Proofs { v1_incorrect: Some(_), .. } | Proofs { v2_incorrect: Some(_), .. } => None,
            Proofs { v1: Some(proof), v2: None, .. } | Proofs { v1: None, v2: Some(proof), .. } => {
                proof.block().ok().flatten()
            }
            _ => None,
        }
    }

    fn check(&self, block: &NamespaceBlock) -> Result<(), String> {
        let proofs = match self {
            Self::Absent if !block.is_empty() => return Err("transactions without a proof".into()),
            Self::Absent | Self::Bare => return Ok(()),
            Self::Tagged(proofs) => proofs,
        };
        // The block was dispersed wrongly, so the namespace counts as empty.
        let is_incorrect = proofs.v1_incorrect.is_some() || proofs.v2_incorrect.is_some();
        if is_incorrect && !block.is_empty() {
            return Err("transactions in a wrongly dispersed block".into());
        }
        for proof in [&proofs.v1, &proofs.v2].into_iter().flatten() {
            if proof.block()?.is_some_and(|proven| proven != *block) {
                return Err(NOT_PROVEN.into());
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Proof<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyProof)
    }
}

struct AnyProof;

impl<'de> Visitor<'de> for AnyProof {
    type Value = Proof<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a proof")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        Proofs::deserialize(MapAccessDeserializer::new(members)).map(Box::new).map(Proof::Tagged)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Proof::Bare)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Proof::Absent)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Proof::Bare)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Proof::Bare)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Proof::Bare)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Proof::Bare)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Proof::Bare)
    }
}

/// The transactions of one block, which must be those of the proof if that was read before.
struct Transactions {
    namespace: u32,
    proven: Option<NamespaceBlock>,
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
        let mut proven = self.proven.as_ref().map(NamespaceBlock::payloads);
        while let Some(Transaction { namespace, payload }) = elements.next_element()? {
            if namespace != self.namespace {
                let problem = format_args!("a transaction of namespace {namespace}");
                return Err(A::Error::custom(problem));
            }
            let Some(proven) = &mut proven else {
                let decoded = append_base64(&payload, &mut bytes);
                decoded.map_err(|error| A::Error::custom(format_args!("payload: {error}")))?;
                let too_long = |_| A::Error::custom("payloads of more than 4 GiB");
                ends.push(u32::try_from(bytes.len()).map_err(too_long)?);
                continue;
            };
            if !proven.next().is_some_and(|bytes| stands_for(&payload, bytes)) {
                return Err(A::Error::custom(NOT_PROVEN));
            }
        }
        if proven.is_some_and(|mut rest| rest.next().is_some()) {
            return Err(A::Error::custom(NOT_PROVEN));
        }
        let listed = || NamespaceBlock::one_after_the_other(bytes, &ends);
        Ok(self.proven.unwrap_or_else(listed))
    }
}

/// Whether a namespace's bytes are u32 count, as many u32 end offsets, then the bodies, all little
/// endian.
fn is_well_formed(payload: &[u8]) -> bool {
    let parts = || {
        let (count, rest) = payload.split_first_chunk::<4>()?;
        let table_length = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
        let (table, bodies) = rest.split_at_checked(table_length)?;
        Some((table.as_chunks::<4>().0, bodies))
    };
    parts().is_some_and(|(table, bodies)| {
        let ends = table.iter().map(|end| u32::from_le_bytes(*end));
        let last = ends.clone().next_back().unwrap_or(0);
        ends.is_sorted() && usize::try_from(last).is_ok_and(|last| last == bodies.len())
    })
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use super::*;

    /// Whether a namespace's bytes are these payloads; none if they are malformed.
    fn is_in(block: &NamespaceBlock, payload: Vec<u8>) -> Option<bool> {
        let proof = NamespaceProof { ns_payload: STANDARD.encode(payload).into() };
        proof.block().unwrap().map(|proven| proven == *block)
    }

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
        for proof in
            [json!({"anything": 1}), json!("text"), json!([[]]), json!(1), json!(-1.5), json!(true)]
        {
            let body = json!([{"proof": proof,
                "transactions": [{"namespace": 12_648_430, "payload": "AA=="}]}]);
            assert!(read(&body, 1).unwrap()[0].payloads().eq([[0]]));
        }
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

    #[test]
    fn proof_and_transactions_agree_in_either_order() {
        let payload = [&[2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0][..], b"abc"].concat();
        let texts = |payloads: &[&str]| -> String {
            let transaction = |payload: &&str| {
                json!({"namespace": 12_648_430, "payload": STANDARD.encode(payload)}).to_string()
            };
            payloads.iter().map(transaction).collect::<Vec<_>>().join(",")
        };
        let read = |payload: &[u8], payloads: &[&str]| {
            let proof =
                format!(r#""proof":{{"V1":{{"ns_payload":"{}"}}}}"#, STANDARD.encode(payload));
            let list = format!(r#""transactions":[{}]"#, texts(payloads));
            let both = [format!("[{{{proof},{list}}}]"), format!("[{{{list},{proof}}}]")];
            let [first, second] = both.map(|body| read_range(body.as_bytes(), 12_648_430, 1).ok());
            assert_eq!(first, second, "{payloads:?}");
            first.map(|blocks| blocks[0].payloads().map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        assert_eq!(read(&payload, &["a", "bc"]), Some(vec![b"a".to_vec(), b"bc".to_vec()]));
        for other in [&["a", "bd"][..], &["a"], &["ab", "c"], &["a", "bc", ""], &["abc"], &[]] {
            assert_eq!(read(&payload, other), None, "{other:?}");
        }
        // Malformed bytes beside a list show nothing.
        let malformed = [&payload[..], b"d"].concat();
        assert_eq!(read(&malformed, &["a"]), Some(vec![b"a".to_vec()]));
        let twice = format!(
            r#"[{{"proof":{{"V1":{{"ns_payload":"{0}"}}}},"transactions":[{1}],"proof":{{"V1":{{"ns_payload":"AAAAAA=="}}}}}}]"#,
            STANDARD.encode(&payload),
            texts(&["a", "bc"])
        );
        assert!(read_range(twice.as_bytes(), 12_648_430, 1).is_err(), "the last proof counts");
    }
}
