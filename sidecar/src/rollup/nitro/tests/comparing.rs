//! What a message proves of a block.

use std::collections::BTreeMap;

use alloy_trie::root::ordered_trie_root_with_encoder;
use serde_json::Value;

use super::{super::*, fixture::*};
use crate::{
    config::NitroRequire as Require,
    node::Transaction,
    rollup::{Payloads, Proven, Rollup, Uncompared, Waiting},
};

#[test]
fn every_golden_block_is_proven_by_its_message() {
    for golden in all_golden() {
        assert_eq!(golden.proofs(&golden.block), [Ok(Proven::Hash), Ok(Proven::Inputs)]);
        let unsigned = compare(
            &golden.chain(Require::Hash),
            &[golden.copy(Scheme::Signature)],
            &golden.below,
            &golden.block,
        );
        assert_eq!(unsigned, Err(Uncompared::Waits(Waiting::HashUnsigned)));
    }
}

/// As a V0 poster posts it: without what the parent chain has.
#[test]
fn what_a_v0_poster_leaves_out_comes_from_the_parent_chain() {
    let mut delayed = 0;
    for golden in all_golden() {
        let mut posted = golden.feed.clone();
        if posted.message.header.request_id.is_none() {
            continue;
        }
        posted.message.content = Vec::new().into();
        (posted.message.batch_gas, posted.message.batch_data) = (None, None);
        delayed += 1;
        let kept = copy(&posted, Scheme::V0, golden.chain_id);
        let chain = golden.chain(Require::Inputs);
        let proof = compare(&chain, &[kept], &golden.below, &golden.block);
        assert_eq!(proof, Ok(Proven::Inputs));
        let chain = golden.chain(Require::Inputs);
        for message in chain.parent.messages.lock().values_mut() {
            message.data = Some(vec![1].into());
        }
        let proof = compare(&chain, &[kept], &golden.below, &golden.block);
        assert!(matches!(proof, Err(Uncompared::Waits(Waiting::Parent { .. }))), "{proof:?}");
    }
    assert!(delayed > 3);
}

/// The hash of a block in JSON, from the words of its refusal.
fn rehashed(json: &Value) -> Value {
    let problem = block(json).unwrap_err();
    let at = problem.find("0x").unwrap();
    problem[at..at + 66].into()
}

/// A header with another value of a field.
fn turned(json: &Value, name: &str) -> Value {
    let text = json[name].as_str().unwrap();
    let (head, last) = text.split_at(text.len() - 1);
    let mut json = json.clone();
    json[name] = format!("{head}{}", if last == "1" { "2" } else { "1" }).into();
    json
}

/// What passes under `inputs` is what `docs/nitro.md` says.
#[test]
fn a_golden_block_with_another_field_is_refused() {
    for golden in all_golden() {
        let json = &golden.json;
        for name in FIELDS.into_iter().filter(|name| *name != "extraData" || json[name] != "0x") {
            let mut other = turned(json, name);
            assert!(block(&other).is_err(), "{name}: the hash is another");
            // A node that hashes what it answers.
            other["hash"] = rehashed(&other);
            let [hash, inputs] = golden.proofs(&block(&other).unwrap());
            assert!(hash.is_err(), "{name}");
            // The inputs tell nothing of the others.
            let told = ["parentHash", "miner", "number", "timestamp", "nonce"].contains(&name);
            assert_eq!(inputs.is_err(), told, "{name}");
        }
    }
}

/// Under `hash` the root in the header tells; the node's list is not hashed again.
#[test]
fn a_golden_block_of_other_transactions_is_refused() {
    for golden in all_golden() {
        let root = |raw: &[Vec<u8>]| {
            ordered_trie_root_with_encoder(raw, |it, out| out.extend_from_slice(it))
        };
        let transactions = &golden.raw;
        assert_eq!(golden.json["transactionsRoot"], root(transactions).to_string());
        let refused = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let (mut other, mut json) = (transactions.clone(), golden.json.clone());
            change(&mut other);
            assert_ne!(other, *transactions);
            json["transactionsRoot"] = root(&other).to_string().into();
            json["hash"] = rehashed(&json);
            golden.proofs(&block(&json).unwrap())[0].is_err()
        };
        for at in 0..transactions.len() {
            for byte in [0, transactions[at].len() / 2, transactions[at].len() - 1] {
                assert!(refused(&|all| all[at][byte] ^= 1), "{at} {byte}");
            }
            assert!(refused(&|all| all.push(all[at].clone())), "{at} twice");
            assert!(refused(&|all| drop(all.remove(at))), "{at} left out");
            if at + 1 < transactions.len() {
                assert!(refused(&|all| all.swap(at, at + 1)), "{at} swapped");
            }
        }
    }
}

/// Under `inputs` the node's list tells.
#[test]
fn a_golden_block_with_other_transactions_is_refused() {
    for golden in all_golden() {
        let transactions = &golden.block.transactions;
        let by_inputs = |change: &dyn Fn(&mut Vec<Transaction>)| {
            let mut block = golden.block.clone();
            change(&mut block.transactions);
            golden.proofs(&block)[1].is_err()
        };
        let listed = |transaction: &Transaction| !transaction.is_type(0x68);
        for at in 0..transactions.len() {
            if !listed(&transactions[at]) {
                continue;
            }
            let other = B256::repeat_byte(7);
            assert!(at == 0 || by_inputs(&|all| all[at].hash = other));
            assert!(by_inputs(&|all| all.push(all[at].clone())), "{at} twice");
            if at > 0 && transactions.get(at + 1).is_some_and(listed) {
                assert!(by_inputs(&|all| all.swap(at, at + 1)), "{at} swapped");
            }
        }
        assert!(by_inputs(&|all| drop(all.remove(0))));
        assert!(by_inputs(&|all| all[0].input = vec![0; 132].into()));
        let more = transactions.iter().skip(1).any(listed);
        assert!(!more || by_inputs(&|all| all.rotate_left(1)));
    }
}

/// ArbOS drops what cannot be executed: it passes under `inputs`, as `docs/nitro.md` says.
#[test]
fn a_block_that_lacks_a_transaction_is_compared_with_the_payload() {
    let mut tried = 0;
    for golden in all_golden() {
        let kept = golden.copy(Scheme::Signature);
        let Transactions::Listed { count, .. } = kept.content.transactions else { continue };
        let last = golden.block.transactions.iter().rposition(|it| !it.is_type(0x68));
        let Some(last) = last.filter(|last| *last > 0 && count > 0) else { continue };
        let mut block = golden.block.clone();
        block.transactions.remove(last);
        let chain = golden.chain(Require::Inputs);
        let proof = compare(&chain, &[kept], &golden.below, &block);
        assert_eq!(proof, Err(Uncompared::Payload(0)));
        assert_eq!(golden.inputs(&block), Ok(Proven::Inputs));
        for useless in [None, Some(Vec::new())] {
            let read = BTreeMap::from([(0, (useless, 0))]);
            let compared = chain.compare(&[&kept], Payloads::new(&read), &golden.below, &block);
            assert!(matches!(compared, Err(Uncompared::Differs(_))));
        }
        tried += 1;
    }
    assert!(tried > 3);
}
