//! The answer of the namespace range endpoint, and the layouts inside it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// The contents of our namespace in one HotShot block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceBlock {
    /// The payloads in order.
    pub payloads: Vec<Vec<u8>>,
}

impl NamespaceBlock {
    /// Reads the answer for `count` blocks and checks its consistency.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read_range(body: &[u8], namespace: u32, count: u64) -> Result<Vec<Self>, String> {
        read_range(body, namespace, count)
    }
}

#[derive(Deserialize)]
struct Element {
    proof: Option<Proof>,
    transactions: Vec<Transaction>,
}

/// The form of the proof depends on the block's dispersal scheme; older API versions give it bare.
#[derive(Deserialize)]
#[serde(untagged)]
enum Proof {
    Known(KnownProof),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
enum KnownProof {
    V1(NamespaceProof),
    V2(NamespaceProof),
    V1IncorrectEncoding(serde::de::IgnoredAny),
    V2IncorrectEncoding(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct NamespaceProof {
    ns_payload: String,
}

#[derive(Deserialize)]
struct Transaction {
    namespace: u32,
    payload: String,
}

/// Whether the answer for one block shows the namespace in it, which is when it has a proof.
pub(super) fn is_present(body: &[u8]) -> Result<bool, String> {
    let elements: [Element; 1] = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(elements.iter().any(|element| element.proof.is_some()))
}

fn read_range(body: &[u8], namespace: u32, count: u64) -> Result<Vec<NamespaceBlock>, String> {
    let elements: Vec<Element> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if elements.len() as u64 != count {
        return Err(format!("{} elements for {count} blocks", elements.len()));
    }
    elements
        .into_iter()
        .enumerate()
        .map(|(index, element)| {
            read_element(element, namespace)
                .map_err(|problem| format!("element {index}: {problem}"))
        })
        .collect()
}

fn read_element(element: Element, namespace: u32) -> Result<NamespaceBlock, String> {
    let mut payloads = Vec::with_capacity(element.transactions.len());
    for transaction in element.transactions {
        if transaction.namespace != namespace {
            return Err(format!("a transaction of namespace {}", transaction.namespace));
        }
        let payload = STANDARD.decode(transaction.payload).map_err(|error| error.to_string())?;
        payloads.push(payload);
    }
    match element.proof {
        None if !payloads.is_empty() => Err("transactions without a proof".into()),
        // The block was dispersed wrongly, so the namespace counts as empty.
        Some(Proof::Known(
            KnownProof::V1IncorrectEncoding(_) | KnownProof::V2IncorrectEncoding(_),
        )) if !payloads.is_empty() => Err("transactions in a wrongly dispersed block".into()),
        Some(Proof::Known(KnownProof::V1(proof) | KnownProof::V2(proof))) => {
            let proven = STANDARD.decode(proof.ns_payload).map_err(|error| error.to_string())?;
            match split_payload(&proven) {
                Some(proven) if proven != payloads => {
                    Err("the transactions are not those of the proof".into())
                }
                _ => Ok(NamespaceBlock { payloads }),
            }
        }
        _ => Ok(NamespaceBlock { payloads }),
    }
}

/// The transactions of a namespace payload: u32 count, as many u32 end offsets, then the bodies,
/// all little endian. None for a malformed one: builders may write those, and each service splits
/// them in its own way.
fn split_payload(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, rest) = payload.split_first_chunk::<4>()?;
    let table_length = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
    let (table, bodies) = rest.split_at_checked(table_length)?;
    let mut transactions = Vec::with_capacity(table.len() / 4);
    let mut start = 0;
    for end in table.as_chunks::<4>().0 {
        let end = usize::try_from(u32::from_le_bytes(*end)).ok()?;
        transactions.push(bodies.get(start..end)?);
        start = end;
    }
    (start == bodies.len()).then_some(transactions)
}

/// The namespaces of a HotShot block and where each ends in its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceTable {
    /// Namespace id and end offset, in the order of the table.
    pub entries: Vec<(u32, u32)>,
}

impl NamespaceTable {
    /// Reads `u32 count`, then per namespace `u32 id, u32 end offset`, all little endian. None when
    /// the length is not that of the count.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let (entries, tail) = rest.as_chunks::<8>();
        if !tail.is_empty() || u32::from_le_bytes(*count) as usize != entries.len() {
            return None;
        }
        let entries = entries
            .iter()
            .filter_map(|entry| {
                let (id, end) = entry.split_first_chunk::<4>()?;
                Some((u32::from_le_bytes(*id), u32::from_le_bytes(*end.first_chunk::<4>()?)))
            })
            .collect();
        Some(Self { entries })
    }

    /// Whether the block has anything in a namespace.
    #[must_use]
    pub fn contains(&self, namespace: u32) -> bool {
        self.entries.iter().any(|(id, _)| *id == namespace)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../testdata/namespace_range.json")).unwrap()
    }

    fn read(body: &Value, count: u64) -> Result<Vec<NamespaceBlock>, String> {
        let namespace = vectors()["namespace"].as_u64().unwrap() as u32;
        read_range(body.to_string().as_bytes(), namespace, count)
    }

    #[test]
    fn both_kinds_of_proof_are_read_and_agree_with_the_listed_transactions() {
        let vectors = vectors();
        let v1 = read(&vectors["response_v1_proof"], 2).unwrap();
        assert_eq!(v1[0].payloads.len(), 6);
        assert!(v1[0].payloads.iter().all(|payload| payload.len() == 256));
        assert!(v1[1].payloads.is_empty(), "an absent namespace is an empty block");
        let v2 = read(&vectors["response_v2_proof"], 1).unwrap();
        assert_eq!(v1[0], v2[0]);
        let payload = &vectors["response_v1_proof"][0]["proof"]["V1"]["ns_payload"];
        let payload = STANDARD.decode(payload.as_str().unwrap()).unwrap();
        assert_eq!(payload.len() as u64, vectors["ns_payload_len"].as_u64().unwrap());
        let split = split_payload(&payload).unwrap();
        let mut end = 0;
        for (transaction, expected) in
            split.iter().zip(vectors["ns_payload_tx_end_offsets"].as_array().unwrap())
        {
            end += transaction.len() as u64;
            assert_eq!(end, expected.as_u64().unwrap());
        }
    }

    #[test]
    fn a_wrongly_dispersed_block_is_empty() {
        let body = &vectors()["response_incorrect_encoding_shape"];
        let count = body.as_array().unwrap().len() as u64;
        assert!(read(body, count).unwrap().iter().all(|block| block.payloads.is_empty()));
    }

    #[test]
    fn a_bare_proof_of_the_old_api_is_accepted() {
        let body = json!([{"proof": {"anything": 1},
            "transactions": [{"namespace": 12_648_430, "payload": "AA=="}]}]);
        assert_eq!(read(&body, 1).unwrap()[0].payloads, [[0]]);
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
        for body in [json!({}), json!(null), json!([{}]), json!([{"proof": null}]), json!([1])] {
            assert!(read(&body, 1).is_err(), "{body}");
        }
    }

    #[test]
    fn a_malformed_namespace_payload_gives_no_verdict() {
        for payload in
            [&[][..], &[1, 0, 0, 0], &[255, 255, 255, 255, 1], &[1, 0, 0, 0, 9, 0, 0, 0, 1]]
        {
            assert_eq!(split_payload(payload), None);
        }
        assert_eq!(split_payload(&[0, 0, 0, 0]), Some(vec![]));
    }

    #[test]
    fn namespace_tables_are_read() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../testdata/espresso_headers.json")).unwrap();
        for case in vectors["ns_tables"].as_array().unwrap() {
            let bytes = STANDARD.decode(case["base64"].as_str().unwrap()).unwrap();
            let entries: Vec<(u32, u32)> = serde_json::from_value(case["entries"].clone()).unwrap();
            let table = NamespaceTable::decode(&bytes).unwrap();
            assert_eq!(table.entries, entries);
            for (id, _) in entries {
                assert!(table.contains(id) && !table.contains(id + 1));
            }
            assert_eq!(NamespaceTable::decode(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(NamespaceTable::decode(&[1, 0, 0, 0]), None);
    }
}
