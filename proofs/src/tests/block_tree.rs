//! Chains, paths and the light client's root.

use std::sync::LazyLock;

use alloy_primitives::{B256, U256};
use proptest::{prelude::*, test_runner::Config};
use serde_json::{Value, json};

use super::{block_tree_vectors, encoder::header};
use crate::{
    BlockPath, BlockPathError, BlockTree, BlockTreeRoot, Chain, ChainError, Checkpoint,
    CheckpointError, Header, Reason, TaggedBase64,
};

fn recorded() -> Vec<Header> {
    let vectors = block_tree_vectors();
    let chain = vectors["recorded_0_5_chain"].as_array().unwrap();
    chain.iter().map(|block| header(&block["header"])).collect()
}

fn recorded_json() -> Vec<Value> {
    let vectors = block_tree_vectors();
    let chain = vectors["recorded_0_5_chain"].as_array().unwrap();
    chain.iter().map(|block| block["header"].clone()).collect()
}

fn checkpoint() -> Checkpoint {
    let vectors = block_tree_vectors();
    let state = &vectors["light_client_state_height_5"];
    Checkpoint {
        height: state["block_height"].as_u64().unwrap(),
        root: state["block_comm_root"].to_string().trim_matches('"').parse().unwrap(),
    }
}

fn devnet() -> (BlockPath, BlockTreeRoot, Value) {
    let proof = &block_tree_vectors()["devnet_proof"];
    let root = TaggedBase64::parse(proof["block_merkle_tree_root"].as_str().unwrap()).unwrap();
    let path = BlockPath::read(proof["proof"].to_string().as_bytes()).unwrap();
    (path, BlockTreeRoot::decode(&root).unwrap(), proof.clone())
}

#[test]
fn the_recorded_chain_follows_itself() {
    let headers = recorded();
    assert_eq!(headers.len(), 7);
    let mut chain = Chain::new();
    for (header, vector) in headers.iter().zip(recorded_json()) {
        let expected = vector["fields"]["block_merkle_tree_root"].as_str().unwrap();
        let expected = BlockTreeRoot::decode(&TaggedBase64::parse(expected).unwrap());
        assert_eq!(Some(chain.tree().root()), expected);
        chain.extend(std::slice::from_ref(header)).unwrap();
    }
    let mut at_once = Chain::new();
    at_once.extend(&headers).unwrap();
    assert_eq!(at_once, chain);
}

#[test]
fn the_light_clients_state_is_that_of_the_recorded_chain() {
    let headers = recorded();
    let checkpoint = checkpoint();
    assert_eq!(checkpoint.height, 5);
    let mut chain = Chain::new();
    chain.extend(&headers[..5]).unwrap();
    assert_eq!(checkpoint.check(chain.tree()), Ok(()));
    let mut forged = BlockTree::new();
    for (height, header) in headers[..5].iter().enumerate() {
        let commitment = header.committed().unwrap();
        forged.append(if height == 2 { B256::ZERO } else { commitment });
    }
    assert_eq!(checkpoint.check(&forged), Err(CheckpointError::Root(5)));
    chain.extend(&headers[5..6]).unwrap();
    let of_another_height = CheckpointError::Headers { headers: 6, height: 5 };
    assert_eq!(checkpoint.check(chain.tree()), Err(of_another_height));
}

#[test]
fn a_root_with_any_bit_turned_has_another_light_client_root() {
    let root = recorded()[5].block_tree_root().copied().unwrap();
    let expected = root.light_client_root();
    assert_eq!(expected, checkpoint().root);
    for byte in 0..32 {
        let mut other = root;
        other.hash.0[byte] ^= 1;
        assert_ne!(other.light_client_root(), expected);
    }
    assert_ne!(BlockTreeRoot { headers: 6, ..root }.light_client_root(), expected);
}

#[test]
fn roots_of_trees_of_another_height_are_none() {
    let good = recorded_json()[5]["fields"]["block_merkle_tree_root"].clone();
    let good = TaggedBase64::parse(good.as_str().unwrap()).unwrap();
    assert!(BlockTreeRoot::decode(&good).is_some());
    let mut other = good.clone();
    other.value[32] = 31;
    assert_eq!(BlockTreeRoot::decode(&other), None);
    let mut longer = good.clone();
    longer.value.push(0);
    assert_eq!(BlockTreeRoot::decode(&longer), None);
    let mut shorter = good.clone();
    shorter.value.pop();
    assert_eq!(BlockTreeRoot::decode(&shorter), None);
    assert_eq!(BlockTreeRoot::decode(&TaggedBase64 { tag: "OTHER".into(), ..good }), None);
}

#[test]
fn headers_that_do_not_follow_are_found_and_change_nothing() {
    let good = recorded_json();
    let read = |headers: &[Value]| headers.iter().map(header).collect::<Vec<_>>();
    let mut start = Chain::new();
    start.extend(&read(&good[..2])).unwrap();
    let refused = |headers: &[Value]| {
        let mut chain = start.clone();
        let error = chain.extend(&read(headers)).unwrap_err();
        assert_eq!(chain, start);
        error
    };
    let mut skipped = good[2..].to_vec();
    skipped.remove(1);
    assert_eq!(refused(&skipped), ChainError::Height { given: 4, expected: 3 });
    let mut swapped = good[2..].to_vec();
    swapped.swap(1, 2);
    assert_eq!(refused(&swapped), ChainError::Height { given: 4, expected: 3 });
    // The root in the next header shows it.
    let mut altered = good[2..].to_vec();
    altered[1]["fields"]["l1_head"] = json!(1);
    let error = refused(&altered);
    assert_eq!((error.clone(), error.reason()), (ChainError::Root(4), Reason::BlockTree));
    let mut unknown = good[2..].to_vec();
    unknown[0]["version"]["Version"]["minor"] = json!(99);
    assert_eq!(refused(&unknown).reason(), Reason::UnsupportedVersion);
    let mut older = good[2..].to_vec();
    older[1]["version"]["Version"]["minor"] = json!(4);
    let error = refused(&older);
    assert!(matches!(error, ChainError::Version { height: 3, .. }), "{error:?}");
    assert_eq!(error.reason(), Reason::Header);
}

/// The path of a header in a small tree, from all of its subtrees.
fn path(commitments: &[B256], height: u64) -> Value {
    let field = |value: &[u8]| TaggedBase64 { tag: "FIELD".into(), value: value.to_vec() };
    let field = |value: &[u8]| json!(field(value).to_string());
    let pos = field(&height.to_le_bytes());
    let leaf = &commitments[height as usize];
    let mut nodes = vec![json!({"Leaf": {
        "value": field(&[0; 32]), "pos": pos, "elem": field(leaf.as_slice())
    }})];
    let mut level: Vec<B256> =
        commitments.iter().map(|commitment| crate::block_tree::leaf(*commitment)).collect();
    let mut at = height as usize;
    for _ in 0..crate::block_tree::HEIGHT {
        level.resize(level.len().next_multiple_of(3), B256::ZERO);
        let group = at / 3 * 3;
        let child = |index: usize| match level[index] {
            _ if index == at => json!({"ForgettenSubtree": {"value": field(&[9; 32])}}),
            hash if hash.is_zero() => json!("Empty"),
            hash => json!({"ForgettenSubtree": {"value": field(hash.as_slice())}}),
        };
        let children: Vec<_> = (group..group + 3).map(child).collect();
        nodes.push(json!({"Branch": {"value": field(&[0; 32]), "children": children}}));
        let node = |of: &[B256]| crate::block_tree::node([of[0], of[1], of[2]]);
        level = level.chunks(3).map(node).collect();
        at /= 3;
    }
    json!({"pos": pos, "proof": nodes})
}

fn read(path: &Value) -> BlockPath {
    BlockPath::read(path.to_string().as_bytes()).unwrap()
}

#[test]
fn from_each_position_of_the_recorded_chain_the_tree_is_the_same() {
    let headers = recorded();
    let commitments: Vec<B256> = headers.iter().map(|it| it.committed().unwrap()).collect();
    let checkpoint = checkpoint();
    for until in 1..=headers.len() {
        for height in 0..until as u64 {
            let path = read(&path(&commitments[..until], height));
            let mut chain = Chain::after(&path);
            let mut whole = Chain::new();
            whole.extend(&headers[..=height as usize]).unwrap();
            assert_eq!(chain.tree(), whole.tree());
            chain.extend(&headers[height as usize + 1..]).unwrap();
            if until == 5 {
                let last = commitments[height as usize];
                checkpoint.check_path(&path).unwrap();
                checkpoint.check_begin(whole.tree(), last, &path).unwrap();
                let refused = checkpoint.check_begin(chain.tree(), last, &path);
                assert!(refused.is_err());
                let other = checkpoint.check_begin(whole.tree(), B256::ZERO, &path).unwrap_err();
                assert_eq!(other.reason(), Reason::Root);
            } else {
                assert!(checkpoint.check_path(&path).is_err());
            }
        }
    }
}

#[test]
fn the_chain_before_a_path_must_be_the_one_under_the_root() {
    let commitments: Vec<B256> =
        recorded()[..5].iter().map(|header| header.committed().unwrap()).collect();
    let path = read(&path(&commitments, 3));
    let mut forged = BlockTree::new();
    for commitment in [B256::ZERO, commitments[1], commitments[2], commitments[3]] {
        forged.append(commitment);
    }
    let refused = checkpoint().check_begin(&forged, commitments[3], &path);
    assert_eq!(refused, Err(CheckpointError::Chain(3)));
}

#[test]
fn the_devnets_path_leads_to_its_root_and_the_light_clients() {
    let (path, root, vector) = devnet();
    let commitment: B256 = vector["header_commitment"].as_str().unwrap().parse().unwrap();
    assert_eq!(path.check(1, commitment, &root), Ok(()));
    let light_client: U256 =
        vector["light_client_root"].to_string().trim_matches('"').parse().unwrap();
    assert_eq!(root.light_client_root(), light_client);
    let checkpoint = Checkpoint { height: 44, root: light_client };
    assert_eq!(checkpoint.check_path(&path), Ok(()));
    assert!(Checkpoint { height: 45, ..checkpoint }.check_path(&path).is_err());
    assert!(Checkpoint { root: light_client ^ U256::ONE, ..checkpoint }.check_path(&path).is_err());
}

/// The mutations of the vectors that are of paths.
#[test]
fn mutated_paths_are_refused() {
    let (path, root, vector) = devnet();
    let commitment = path.commitment();
    assert_eq!(block_tree_vectors()["mutations"].as_array().unwrap().len(), 8);
    let outcome =
        |proof: &Value| BlockPath::read(proof.to_string().as_bytes())?.check(1, commitment, &root);
    let good = &vector["proof"];
    assert_eq!(outcome(good), Ok(()));
    let other = |text: &Value| {
        let mut tagged = TaggedBase64::parse(text.as_str().unwrap()).unwrap();
        tagged.value[0] ^= 1;
        json!(tagged.to_string())
    };
    let change = |change: &dyn Fn(&mut Value)| {
        let mut proof = good.clone();
        change(&mut proof);
        outcome(&proof).unwrap_err()
    };
    let sibling = change(&|proof| {
        let value = &mut proof["proof"][1]["Branch"]["children"][0]["ForgettenSubtree"]["value"];
        *value = other(value);
    });
    assert_eq!(sibling, BlockPathError::Root { height: 1, headers: 44 });
    let element = change(&|proof| {
        let element = &mut proof["proof"][0]["Leaf"]["elem"];
        *element = other(element);
    });
    assert_eq!(element, BlockPathError::Commitment(1));
    let position = change(&|proof| {
        proof["pos"] = other(&proof["pos"]);
    });
    assert!(matches!(position, BlockPathError::Height { .. }));
    let position = change(&|proof| {
        proof["pos"] = other(&proof["pos"]);
        proof["proof"][0]["Leaf"]["pos"] = proof["pos"].clone();
    });
    assert_eq!(position, BlockPathError::Height { given: 0, expected: 1 });
    let fewer = change(&|proof| drop(proof["proof"].as_array_mut().unwrap().pop()));
    assert_eq!(fewer, BlockPathError::Levels);
    let more = change(&|proof| {
        let last = proof["proof"][32].clone();
        proof["proof"].as_array_mut().unwrap().push(last);
    });
    assert_eq!(more, BlockPathError::Levels);
    // Values of branches, and that of the path's own child, mean nothing.
    let mut ignored = good.clone();
    ignored["proof"][3]["Branch"]["value"] = ignored["proof"][0]["Leaf"]["value"].clone();
    let own = &mut ignored["proof"][1]["Branch"]["children"][1]["ForgettenSubtree"]["value"];
    *own = other(own);
    assert_eq!(outcome(&ignored), Ok(()));
    // Roots that do not cover the header.
    assert!(path.check(1, commitment, &BlockTreeRoot { headers: 1, ..root }).is_err());
}

#[test]
fn a_far_position_needs_all_levels() {
    let (_, _, vector) = devnet();
    let mut proof = vector["proof"].clone();
    let far = TaggedBase64 { tag: "FIELD".into(), value: u64::MAX.to_le_bytes().to_vec() };
    proof["pos"] = json!(far.to_string());
    proof["proof"][0]["Leaf"]["pos"] = proof["pos"].clone();
    assert_eq!(BlockPath::read(proof.to_string().as_bytes()), Err(BlockPathError::Levels));
}

proptest! {
    #![proptest_config(Config { cases: 1_000, ..Config::default() })]

    #[test]
    fn no_single_bit_of_a_path_changes_where_it_leads_from(at in any::<usize>(), bit in 0..8_u8) {
        static DEVNET: LazyLock<(BlockPath, BlockTreeRoot, Value)> = LazyLock::new(devnet);
        let (path, root, vector) = &*DEVNET;
        let mut text = vector["proof"].to_string().into_bytes();
        let at = at % text.len();
        text[at] ^= 1 << bit;
        if let Ok(other) = BlockPath::read(&text)
            && other.check(path.height(), path.commitment(), root).is_ok()
        {
            prop_assert_eq!(other.tree(), path.tree());
        }
    }

    /// The chain of these headers is under the light client's root, or not read at all.
    #[test]
    fn no_single_bit_of_a_header_is_under_the_root(at in any::<usize>(), bit in 0..8_u8) {
        static CHAIN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
            recorded_json()[..5].iter().map(|json| json.to_string().into_bytes()).collect()
        });
        let mut texts = CHAIN.clone();
        let lengths: usize = texts.iter().map(Vec::len).sum();
        let mut at = at % lengths;
        for text in &mut texts {
            match at.checked_sub(text.len()) {
                Some(rest) => at = rest,
                None => {
                    text[at] ^= 1 << bit;
                    break;
                }
            }
        }
        let headers: Option<Vec<_>> = texts.iter().map(|text| Header::read(text).ok()).collect();
        let mut chain = Chain::new();
        if let Some(headers) = headers
            && chain.extend(&headers).is_ok()
            && checkpoint().check(chain.tree()).is_ok()
        {
            let commitments = |headers: &[Header]| -> Vec<_> {
                headers.iter().map(|header| header.committed().unwrap()).collect()
            };
            prop_assert_eq!(commitments(&headers), commitments(&recorded()[..5]));
        }
    }
}
