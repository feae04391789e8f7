//! The answers of a service, honest or not.

use finality_hotshot::{block::Block, chain::Chain, payload, text::base64};
use serde_json::{Value, json};

use super::{OTHERS, faults::Lie};

/// Bytes that no batcher signed.
const ADDED: &[u8] = b"never posted";

/// What a service says of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers<'a> {
    pub(super) chain: &'a Chain,
    pub(super) lie: Option<Lie>,
}

impl<'a> Answers<'a> {
    /// A namespace in a block, as ranges have it.
    pub(super) fn namespace(self, height: u64, id: u32) -> Value {
        let block = self.block(height);
        if let Some(answer) = self.false_namespace(height, block, id) {
            return answer;
        }
        serde_json::from_str(&block.answer(id)).unwrap()
    }

    /// The proof that a namespace is wrongly encoded, if the service says so.
    pub(super) fn wrong_encoding(self, height: u64, id: u32) -> Option<Value> {
        let block = self.block(height);
        let is_wrong = self.calls_wrong(id) || block.proof(id).is_none();
        is_wrong.then(|| block.wrong_encoding_proof(id)).flatten()
    }

    pub(super) fn header(self, height: u64) -> Value {
        let last = self.chain.height() - 1;
        let shown = match self.lie {
            Some(Lie::HeaderSkipped(skipped)) if height >= skipped => last.min(height + 1),
            Some(Lie::HeadersSwapped(first)) if height == first => last.min(height + 1),
            Some(Lie::HeadersSwapped(first)) if height == first + 1 => first,
            _ => height,
        };
        let mut header = self.block(shown).header();
        match self.lie {
            Some(Lie::HeaderAltered(altered)) if height == altered => {
                let timestamp = &mut header["fields"]["timestamp"];
                *timestamp = json!(timestamp.as_u64().unwrap() + 1);
            }
            Some(Lie::UnknownVersion(from)) if height >= from => {
                header["version"]["Version"]["minor"] = json!(99);
            }
            _ => {}
        }
        header
    }

    pub(super) fn vid_common(self, height: u64) -> Value {
        let mut answer = self.block(height).vid_common();
        let (_, common) = answer["common"].as_object_mut().unwrap().iter_mut().next().unwrap();
        let param = match common.get("param") {
            Some(_) => &mut common["param"],
            None => common,
        };
        match self.lie {
            Some(Lie::Weight | Lie::WronglyEncodedAtMoreWeight) => {
                param["total_weights"] = json!(param["total_weights"].as_u64().unwrap() + 1);
            }
            Some(Lie::Threshold) => param["recovery_threshold"] = param["total_weights"].clone(),
            _ => {}
        }
        answer
    }

    /// The path of a header to the root over the first ones, this many.
    pub(super) fn path(self, leaves: u64, height: u64) -> Value {
        let tree = self.chain.tree();
        match self.lie {
            Some(Lie::PathToAnotherRoot) if height + 1 < leaves => tree.path(leaves - 1, height),
            Some(Lie::PathToAnotherRoot) if leaves < tree.leaves() => tree.path(leaves + 1, height),
            _ => tree.path(leaves, height),
        }
    }

    fn block(self, height: u64) -> &'a Block {
        &self.chain.blocks()[usize::try_from(height).unwrap()]
    }

    fn calls_wrong(self, id: u32) -> bool {
        OTHERS.iter().all(|(other, _)| *other != id)
            && matches!(self.lie, Some(Lie::WronglyEncoded | Lie::WronglyEncodedAtMoreWeight))
    }

    /// What a liar says of a namespace that a block has; none where it says the truth.
    fn false_namespace(self, height: u64, block: &Block, id: u32) -> Option<Value> {
        let proof = block.proof(id)?;
        let (variant, proof) = proof.as_object()?.iter().next()?;
        let ours = block.namespaces().iter().find(|other| other.id == id)?;
        let mut transactions = payload::decode(&ours.payload);
        let altered;
        let absent = json!({"proof": null, "transactions": []});
        if self.calls_wrong(id) {
            return Some(absent);
        }
        match self.lie? {
            Lie::TransactionDropped => drop(transactions.pop()?),
            Lie::TransactionAdded => transactions.push(ADDED),
            Lie::TransactionsReordered => transactions.reverse(),
            Lie::TransactionAltered => {
                let mut last = transactions.pop()?.to_vec();
                *last.last_mut()? ^= 1;
                altered = last;
                transactions.push(&altered);
            }
            Lie::NamespaceAbsent => return Some(absent),
            Lie::ProofOfAnotherNamespace => {
                let other = block.namespaces().iter().find(|other| other.id != id)?;
                let transactions = listed(id, &other.payload);
                return Some(json!({"proof": block.proof(other.id), "transactions": transactions}));
            }
            Lie::ProofOfAnotherHeight => {
                let mut blocks = (0..height).rev().map(|height| self.block(height));
                let older = blocks.find(|older| older.proof(id).is_some())?;
                return serde_json::from_str(&older.answer(id)).ok();
            }
            Lie::ProofOfAnotherVersion => {
                let other = if variant == "V2" { "V1" } else { "V2" };
                let transactions = listed(id, &ours.payload);
                return Some(json!({"proof": {other: proof}, "transactions": transactions}));
            }
            Lie::Threshold => {
                let whole = block.shards(id)?.concat();
                let transactions = listed(id, &whole);
                let proof = with_payload(proof, &whole);
                return Some(json!({"proof": {variant: proof}, "transactions": transactions}));
            }
            _ => return None,
        }
        let payload = payload::encode(&transactions);
        let proof = with_payload(proof, &payload);
        Some(json!({"proof": {variant: proof}, "transactions": listed(id, &payload)}))
    }
}

fn with_payload(proof: &Value, payload: &[u8]) -> Value {
    let mut proof = proof.clone();
    proof["ns_payload"] = json!(base64(payload));
    proof
}

/// The transactions in a namespace's payload, as a query service lists them.
fn listed(id: u32, payload: &[u8]) -> Value {
    payload::decode(payload)
        .into_iter()
        .map(|body| json!({"namespace": id, "payload": base64(body)}))
        .collect()
}
