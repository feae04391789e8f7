//! A block: what it contains, its header, and what a query service says of it.

use std::sync::OnceLock;

use alloy_primitives::{Address, B256};
use serde_json::{Value, json};

use crate::{
    dispersal::{Dispersal, Encoding, threshold},
    payload,
    text::{base64, tagged_base64},
    tree::Scheme,
};

/// What a namespace of a block is made of.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Its id.
    pub id: u32,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// How its proposer dispersed it.
    pub encoding: Encoding,
}

impl Namespace {
    /// A namespace with these transactions, dispersed as it should be.
    #[must_use]
    pub fn new<T: AsRef<[u8]>>(id: u32, transactions: &[T]) -> Self {
        Self { id, payload: payload::encode(transactions), encoding: Encoding::Correct }
    }
}

/// An L1 block in a header.
#[derive(Debug, Clone, Copy)]
pub struct L1Finalized {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Seconds.
    pub timestamp: u64,
}

/// What a header says apart from the payload.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// The protocol version is 0.x.
    pub minor: u64,
    /// The weight of the committee.
    pub weight: usize,
    /// Seconds.
    pub timestamp: u64,
    /// The newest L1 block.
    pub l1_head: u64,
    /// The newest final L1 block.
    pub l1_finalized: Option<L1Finalized>,
}

/// A block.
#[derive(Debug, Clone)]
pub struct Block {
    height: u64,
    circumstances: Circumstances,
    namespaces: Vec<Namespace>,
    /// Of the namespaces; of the empty payload if there are none.
    commitments: Vec<B256>,
    builder_commitment: B256,
    block_tree: [u8; 48],
    header_text: OnceLock<String>,
}

impl Block {
    /// The next block under that root. The namespaces come in this order.
    #[must_use]
    pub fn new(
        height: u64,
        circumstances: Circumstances,
        namespaces: Vec<Namespace>,
        block_tree: [u8; 48],
    ) -> Self {
        let scheme = Scheme::of_version(circumstances.minor);
        let disperse = |payload: &[u8], encoding| {
            Dispersal::encoded(scheme, payload, circumstances.weight, encoding).commitment()
        };
        let mut commitments: Vec<B256> = namespaces
            .iter()
            .map(|namespace| disperse(&namespace.payload, namespace.encoding))
            .collect();
        if commitments.is_empty() {
            commitments.push(disperse(&[], Encoding::Correct));
        }
        let mut block = Self {
            height,
            circumstances,
            namespaces,
            commitments,
            builder_commitment: B256::ZERO,
            block_tree,
            header_text: OnceLock::new(),
        };
        let payloads = block.namespaces.iter().map(|namespace| namespace.payload.as_slice());
        let raw = payloads.collect::<Vec<_>>().concat();
        block.builder_commitment = payload::builder_commitment(&raw, &block.table());
        block
    }

    /// Its namespaces.
    #[must_use]
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    fn scheme(&self) -> Scheme {
        Scheme::of_version(self.circumstances.minor)
    }

    fn table(&self) -> Vec<u8> {
        let lengths: Vec<_> = self
            .namespaces
            .iter()
            .map(|namespace| (namespace.id, namespace.payload.len()))
            .collect();
        payload::table(&lengths)
    }

    fn place(&self, id: u32) -> Option<(usize, &Namespace)> {
        self.namespaces.iter().enumerate().find(|(_, namespace)| namespace.id == id)
    }

    fn dispersal(&self, namespace: &Namespace) -> Dispersal {
        let (scheme, weight) = (self.scheme(), self.circumstances.weight);
        Dispersal::encoded(scheme, &namespace.payload, weight, namespace.encoding)
    }

    /// The shards of a namespace.
    #[must_use]
    pub fn shards(&self, id: u32) -> Option<Vec<Vec<u8>>> {
        self.place(id).map(|(_, namespace)| self.dispersal(namespace).shards)
    }

    fn path(&self, index: usize) -> String {
        tagged_base64("MERKLE_PROOF", &self.scheme().path(&self.commitments, index))
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> Value {
        let Circumstances { minor, timestamp, l1_head, l1_finalized, .. } = self.circumstances;
        let scheme = self.scheme();
        let no_tree = |height: u64| {
            let root = [&[0; 32][..], &height.to_le_bytes(), &[0; 8]].concat();
            tagged_base64("MERKLE_COMM", &root)
        };
        let l1_finalized = l1_finalized.map(|L1Finalized { number, hash, timestamp }| {
            json!({"number": number, "timestamp": format!("{timestamp:#x}"), "hash": hash})
        });
        let mut fields = json!({
            "chain_config": {"chain_config": {"Left": {
                "chain_id": "900", "max_block_size": "10000000", "base_fee": "1",
                "fee_contract": null, "fee_recipient": Address::ZERO,
            }}},
            "height": self.height,
            "timestamp": timestamp,
            "l1_head": l1_head,
            "l1_finalized": l1_finalized,
            "payload_commitment":
                tagged_base64(scheme.tag(), scheme.root(&self.commitments).as_slice()),
            "builder_commitment":
                tagged_base64("BUILDER_COMMITMENT", self.builder_commitment.as_slice()),
            "ns_table": {"bytes": base64(&self.table())},
            "block_merkle_tree_root": tagged_base64("MERKLE_COMM", &self.block_tree),
            "fee_merkle_tree_root": no_tree(20),
            "fee_info": {"account": Address::ZERO, "amount": "0"},
            "builder_signature": null,
            "reward_merkle_tree_root": no_tree(if minor >= 4 { 160 } else { 20 }),
        });
        if minor >= 4 {
            fields["timestamp_millis"] = json!(timestamp * 1000);
            fields["total_reward_distributed"] = json!("0");
            fields["next_stake_table_hash"] = Value::Null;
        }
        if minor >= 5 {
            fields["leader_counts"] = json!(vec![0; 100]);
        }
        json!({"version": {"Version": {"major": 0, "minor": minor}}, "fields": fields})
    }

    /// The same as JSON. It is made once: benchmarks serve thousands of them a second.
    #[must_use]
    pub fn header_text(&self) -> &str {
        self.header_text.get_or_init(|| self.header().to_string())
    }

    /// What is common to all shares: the answer of `vid/common/{height}`.
    #[must_use]
    pub fn vid_common(&self) -> Value {
        let Circumstances { weight, .. } = self.circumstances;
        let scheme = self.scheme();
        let param = json!({"total_weights": weight, "recovery_threshold": threshold(weight)});
        let common = match scheme {
            Scheme::AvidM => param,
            Scheme::AvidmGf2 => {
                let tagged = |commitment: &B256| tagged_base64(scheme.tag(), commitment.as_slice());
                let commitments: Vec<_> = self.commitments.iter().map(tagged).collect();
                let mut lengths: Vec<_> =
                    self.namespaces.iter().map(|namespace| namespace.payload.len()).collect();
                lengths.resize(commitments.len(), 0);
                json!({"param": param, "ns_commits": commitments, "ns_lens": lengths})
            }
        };
        let header = self.header();
        json!({
            "height": self.height,
            "block_hash": tagged_base64("BLOCK", crate::header::commitment(&header).as_slice()),
            "payload_hash": header["fields"]["payload_commitment"],
            "common": {scheme.variant(): common},
        })
    }

    /// What a query service answers about a namespace, as JSON: no proof if the block lacks it or
    /// has it wrongly encoded.
    #[must_use]
    pub fn answer(&self, id: u32) -> String {
        // By hand: benchmarks serve thousands of them a second.
        match self.place(id) {
            Some((index, namespace)) if namespace.encoding == Encoding::Correct => {
                let variant = self.scheme().variant();
                let (payload, path) = (base64(&namespace.payload), self.path(index));
                let transactions: Vec<_> = payload::decode(&namespace.payload)
                    .into_iter()
                    .map(|body| format!(r#"{{"namespace":{id},"payload":"{}"}}"#, base64(body)))
                    .collect();
                format!(
                    r#"{{"proof":{{"{variant}":{{"ns_index":{index},"ns_payload":"{payload}","ns_proof":"{path}"}}}},"transactions":[{}]}}"#,
                    transactions.join(",")
                )
            }
            _ => r#"{"proof":null,"transactions":[]}"#.into(),
        }
    }

    fn answer_member(&self, id: u32, name: &str) -> Value {
        let mut answer: Value = serde_json::from_str(&self.answer(id)).unwrap();
        answer[name].take()
    }

    /// The proof in that answer.
    #[must_use]
    pub fn proof(&self, id: u32) -> Option<Value> {
        Some(self.answer_member(id, "proof")).filter(|proof| !proof.is_null())
    }

    /// The transactions in that answer.
    #[must_use]
    pub fn transactions(&self, id: u32) -> Value {
        self.answer_member(id, "transactions")
    }

    /// The proof that a namespace is wrongly encoded, in the form that it has for every namespace
    /// of the block, also for one to which it does not apply.
    #[must_use]
    pub fn wrong_encoding_proof(&self, id: u32) -> Option<Value> {
        let Circumstances { weight, .. } = self.circumstances;
        let scheme = self.scheme();
        let (index, namespace) = self.place(id)?;
        let variant = format!("{}IncorrectEncoding", scheme.variant());
        if scheme == Scheme::AvidM {
            return Some(json!({variant: {"ns_index": index}}));
        }
        let dispersal = self.dispersal(namespace);
        // Two shares, from both ends, so that there is parity among them.
        let (first, count) = (threshold(weight) / 2, threshold(weight));
        let ranges = [0..first, weight - (count - first)..weight].into_iter();
        let ranges = ranges.filter(|range| !range.is_empty());
        let shares: Vec<_> = ranges.map(|range| dispersal.share(range)).collect();
        let commitment = tagged_base64(scheme.tag(), self.commitments[index].as_slice());
        Some(json!({variant: {
            "ns_index": index,
            "ns_commit": commitment,
            "ns_mt_proof": self.path(index),
            "ns_proof": {"shares": shares},
        }}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chain::Chain, header, text::untagged_hash, vectors};

    fn circumstances(minor: u64, weight: usize) -> Circumstances {
        let l1_finalized =
            Some(L1Finalized { number: 7, hash: B256::repeat_byte(7), timestamp: 9 });
        Circumstances { minor, weight, timestamp: 1_700_000_000, l1_head: 12, l1_finalized }
    }

    /// The recorded chain made anew: its payloads, tables and dispersal. (Fees, rewards and leaders
    /// are not ours.)
    #[test]
    fn blocks_of_the_recorded_chain_agree_with_the_vectors() {
        let vectors = vectors::block_tree();
        let recorded = vectors["recorded_0_5_chain"].as_array().unwrap();
        for (height, block) in (0_u64..).zip(recorded) {
            let fields = &block["header"]["fields"];
            let (weight, id) = match height {
                0 => (1, None),
                odd if odd % 2 == 1 => (5, Some(102)),
                _ => (5, Some(101)),
            };
            let namespaces = id.map(|id| Namespace::new(id, &[height.to_le_bytes()]));
            let made = Block::new(
                height,
                circumstances(5, weight),
                namespaces.into_iter().collect(),
                [0; 48],
            );
            let header = made.header();
            for member in ["height", "ns_table", "payload_commitment", "builder_commitment"] {
                assert_eq!(header["fields"][member], fields[member], "{height} {member}");
            }
            let members = |header: &Value| {
                header["fields"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(members(&header), members(&block["header"]));
        }
    }

    /// The reference payload in a block: the answer is the published one.
    #[test]
    fn answers_of_the_reference_payload_agree_with_the_vectors() {
        let vectors = vectors::namespace();
        for case in &vectors["cases"].as_array().unwrap()[..2] {
            let reference = &vectors["reference_payload"];
            let raw = vectors::bytes(&reference["raw_payload"]);
            let table = vectors::bytes(&reference["ns_table"]);
            let mut begin = 0;
            let namespaces = table[4..].as_chunks::<8>().0.iter().map(|entry| {
                let [id, end] = [&entry[..4], &entry[4..]]
                    .map(|number| u32::from_le_bytes(number.try_into().unwrap()));
                let payload = raw[begin..end as usize].to_vec();
                begin = end as usize;
                Namespace { id, payload, encoding: Encoding::Correct }
            });
            let minor = if case["answer"]["proof"]["V2"].is_null() { 5 } else { 6 };
            let block = Block::new(3, circumstances(minor, 10), namespaces.collect(), [0; 48]);
            let id = u32::try_from(case["namespace"].as_u64().unwrap()).unwrap();
            let answer: Value = serde_json::from_str(&block.answer(id)).unwrap();
            assert_eq!(answer, case["answer"]);
            assert_eq!(block.vid_common()["common"], case["vid_common"]);
            let fields = &block.header()["fields"];
            assert_eq!(fields["payload_commitment"], case["payload_commitment"]);
            assert_eq!(fields["ns_table"]["bytes"], case["ns_table"]);
        }
    }

    #[test]
    fn a_wrongly_encoded_namespace_has_another_commitment_and_its_own_proof() {
        for (weight, encodings) in [
            (1, &[Encoding::WrongPadding, Encoding::ExcessPadding][..]),
            (
                10,
                &[
                    Encoding::AlteredParity,
                    Encoding::WrongPadding,
                    Encoding::ExcessPadding,
                    Encoding::UnevenShards,
                ],
            ),
        ] {
            let block = |encoding| {
                let wrong = Namespace { encoding, ..Namespace::new(5, &[b"transaction"]) };
                let other = Namespace::new(6, &[b"other"]);
                Block::new(3, circumstances(6, weight), vec![wrong, other], [0; 48])
            };
            let honest = block(Encoding::Correct);
            for encoding in encodings {
                let block = block(*encoding);
                assert_ne!(block.commitments[0], honest.commitments[0]);
                assert_eq!(block.commitments[1], honest.commitments[1]);
                assert_eq!(block.proof(5), None);
                let claim = block.wrong_encoding_proof(5).unwrap();
                let shares = claim["V2IncorrectEncoding"]["ns_proof"]["shares"].as_array().unwrap();
                let covered: usize =
                    shares.iter().map(|share| share["payload"].as_array().unwrap().len()).sum();
                assert_eq!(covered, threshold(weight));
            }
        }
    }

    #[test]
    fn a_header_names_the_root_over_those_before_it() {
        let mut chain = Chain::default();
        for minor in [3, 4, 5, 6] {
            chain.push(circumstances(minor, 10), vec![Namespace::new(5, &[[1, 2, 3]])]);
        }
        for ((height, block), commitment) in
            (0..).zip(chain.blocks()).zip(chain.tree().commitments())
        {
            let header = block.header();
            assert_eq!(header::commitment(&header), *commitment);
            let root = tagged_base64("MERKLE_COMM", &chain.tree().root(height));
            assert_eq!(header["fields"]["block_merkle_tree_root"], root);
            let hash = block.vid_common()["block_hash"].as_str().map(untagged_hash);
            assert_eq!(hash, Some(*commitment));
        }
    }
}
