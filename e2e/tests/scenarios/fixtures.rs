//! The fixtures themselves, without the sidecar and Envoy.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use finality_e2e::{
    accounts::counter,
    batch::Batch,
    batcher::{Batcher, namespace},
    block::block,
    client::{Client, hex, http, send},
    emulated::{
        node::L2Node,
        op_node::{self, OpNode},
        sequencer::Sequencer,
    },
    hotshot::{Encoding, Fault, Hotshot, Lie, Proven, RANGE_LIMIT, Transaction},
    l1::{BLOCK_TIME, FINALITY_DEPTH, L1, L1Block},
    l1_info::L1InfoFormat,
    process,
    rollup::OriginPolicy,
    signer::Signer,
    websocket::Connection,
};
use finality_hotshot::{
    header, rescue,
    text::{tagged_base64, untagged},
};
use serde_json::{Value, json};

#[tokio::test]
async fn fixture_l1_finality_light_client_and_reorg() {
    let folder = process::folder();
    let l1 = L1::start(1_700_000_000, Signer::batcher().address(), folder.path()).await;
    l1.mine(6).await;
    assert_eq!(l1.finalized().await.number, l1.latest().await.number - FINALITY_DEPTH);
    assert_eq!(l1.latest().await.timestamp, 1_700_000_000 + 7 * BLOCK_TIME);

    l1.set_light_client(5, 77, B256::from(U256::from(7))).await;
    l1.mine(1).await;
    let state = async |block: u64| {
        let call = json!({"to": l1.light_client(), "data": "0x9fdb54a7"});
        l1.rpc().call("eth_call", json!([call, hex(block)])).await
    };
    let now = l1.latest().await.number;
    assert_eq!(state(now).await, json!(format!("0x{:064x}{:064x}{:064x}", 5, 77, 7)));
    assert_eq!(state(now - 1).await, json!(format!("0x{:0192x}", 0)));

    let events = json!({"address": l1.light_client(), "fromBlock": hex(now), "toBlock": hex(now)});
    let events = l1.rpc().call("eth_getLogs", json!([events])).await;
    assert_eq!(events[0]["topics"][2], json!(format!("0x{:064x}", 77)), "{events}");
    assert_eq!(events[0]["data"], json!(format!("0x{:064x}", 7)));

    let (kept, replaced) = (l1.block(now - 2).await, l1.block(now - 1).await);
    l1.reorg(2).await;
    assert_eq!(l1.latest().await.number, now);
    assert_eq!(l1.block(now - 2).await, kept);
    assert_ne!(l1.block(now - 1).await.hash, replaced.hash);
    l1.mine(1).await;
    assert_eq!(l1.latest().await.number, now + 1);
}

#[tokio::test]
async fn fixture_l1_history_of_batchers() {
    let folder = process::folder();
    let [first, second] = [Signer::batcher(), Signer::successor()].map(|signer| signer.address());
    let l1 = L1::start(1_700_000_000, first, folder.path()).await;
    l1.set_batcher(second).await;
    l1.mine(1).await;
    let call = async |data: String, block: &L1Block| {
        let call = json!({"to": l1.batch_authenticator(), "data": data});
        l1.rpc().call("eth_call", json!([call, {"blockHash": block.hash}])).await
    };
    let (before, after) = (l1.block(1).await, l1.block(2).await);
    let words = |words: &[U256]| {
        json!(words.iter().fold("0x".to_owned(), |text, word| text + &format!("{word:064x}")))
    };
    let number = |number: u64| U256::from(number);
    let address = |address: Address| U256::from_be_bytes(address.into_word().0);
    let length = async |block| call("0x4268ecaa".into(), block).await;
    assert_eq!(length(&before).await, words(&[number(1)]));
    assert_eq!(length(&after).await, words(&[number(2)]));
    let entry = async |index: u64| call(format!("0xfd402af7{index:064x}"), &after).await;
    assert_eq!(entry(0).await, words(&[address(first), number(1)]));
    assert_eq!(entry(1).await, words(&[address(second), number(2)]));
    let active = async |block| call("0xeca919df".into(), block).await;
    assert_eq!(active(&after).await, words(&[number(1)]));
    l1.set_active_is_espresso(false).await;
    l1.mine(1).await;
    assert_eq!(active(&l1.block(3).await).await, words(&[number(0)]));
}

#[tokio::test]
async fn fixture_nodes_agree_also_after_a_reorg_and_a_wipe() {
    for format in [L1InfoFormat::Bedrock, L1InfoFormat::Jovian] {
        let folder = process::folder();
        let l1 =
            Arc::new(L1::start(1_700_000_000, Signer::batcher().address(), folder.path()).await);
        l1.mine(8).await;
        let sequencer = Sequencer::start(
            Arc::clone(&l1),
            OriginPolicy::Finalized,
            format,
            1_700_000_100,
            folder.path(),
        )
        .await;
        let node = L2Node::start("full-node", 1_700_000_100, folder.path()).await;
        assert_eq!(node.genesis_hash(), sequencer.node().genesis_hash());

        sequencer.produce(12).await;
        let honest = sequencer.chain().await;
        node.follow(&honest).await;
        assert_eq!(honest.last().unwrap().l1_origin(), l1.finalized().await.number);

        sequencer.fork_above(7).await;
        sequencer.produce(6).await;
        let fork = sequencer.chain().await;
        assert_eq!(block(&fork, 7).hash, block(&honest, 7).hash);
        assert_ne!(block(&fork, 9).hash, block(&honest, 9).hash);
        node.follow(&fork).await;
        node.follow(&honest).await;
        assert_eq!(node.height().await, 12);
        assert!(node.ever_had(9, block(&fork, 9).hash));

        node.wipe().await;
        assert_eq!(node.height().await, 0);
        node.follow(&fork).await;

        let log = json!([{"address": counter(), "fromBlock": "0x2", "toBlock": "0x2"}]);
        let logs = node.rpc().call("eth_getLogs", log).await;
        assert_eq!(logs.as_array().unwrap().len(), 1, "{logs}");
    }
}

#[tokio::test]
async fn fixture_hotshot_and_op_node_serve_what_the_sequencer_built() {
    let folder = process::folder();
    let l1 = Arc::new(L1::start(1_700_000_000, Signer::batcher().address(), folder.path()).await);
    l1.mine(8).await;
    let genesis_time = 1_700_000_100;
    let sequencer = Sequencer::start(
        Arc::clone(&l1),
        OriginPolicy::Finalized,
        L1InfoFormat::Isthmus,
        genesis_time,
        folder.path(),
    )
    .await;
    let node = Arc::new(L2Node::start("full-node", genesis_time, folder.path()).await);
    let origin = sequencer.genesis_origin();
    let op_node = OpNode::start(Arc::clone(&node), Arc::clone(&l1), origin).await;
    let hotshot = Arc::new(Hotshot::start(origin).await);
    let batcher = Batcher::new(Arc::clone(&hotshot));
    sequencer.produce(5).await;
    let chain = sequencer.chain().await;
    node.follow(&chain).await;
    batcher.post(&chain[..2]);
    hotshot.mine(origin, origin);
    hotshot.mine(origin, origin);
    batcher.post(&chain[2..]);
    hotshot.mine(origin, origin);
    assert_eq!(hotshot.height(), 4);
    assert!(hotshot.confirmed(4).contains(&block(&chain, 4).hash));

    let get =
        async |path: &str| send(http().get(format!("{}{path}", hotshot.url()))).await.unwrap();
    let ours = namespace();
    for prefix in ["", "v0/", "v1/"] {
        assert_eq!(get(&format!("{prefix}status/block-height")).await.json(), json!(4));
        let range = get(&format!("{prefix}availability/block/0/4/namespace/{ours}")).await.json();
        let counts: Vec<usize> = range
            .as_array()
            .unwrap()
            .iter()
            .map(|element| element["transactions"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, [0, 2, 0, 3]);
        assert!(range[0]["proof"].is_null());
        let one = get(&format!("{prefix}availability/block/3/namespace/{ours}")).await.json();
        assert_eq!(one, range[3]);
        let header = get(&format!("{prefix}availability/header/3")).await.json();
        assert_eq!(header["fields"]["height"], 3);
        assert_eq!(get(&format!("{prefix}availability/header/1/4")).await.json()[2], header);
    }
    let past_the_end = format!("availability/block/3/5/namespace/{ours}");
    assert_eq!(get(&past_the_end).await.status, 404);
    let too_long = format!("availability/block/0/{}/namespace/{ours}", RANGE_LIMIT + 1);
    assert_eq!(get(&too_long).await.status, 400);
    assert_eq!(get("availability/block/2/2/namespace/1").await.json(), json!([]));
    hotshot.set_fault(Some(Fault::ShortArray));
    let short = get(&format!("availability/block/0/4/namespace/{ours}")).await.json();
    assert_eq!(short.as_array().unwrap().len(), 3);
    hotshot.set_fault(Some(Fault::TooManyRequests(1)));
    let busy = get("status/block-height").await;
    assert_eq!((busy.status, busy.headers["retry-after"].to_str().unwrap()), (429, "1"));
    hotshot.set_fault(None);

    // The execution port: tags as set, everything else as Anvil answers.
    op_node.set_finalized(3);
    let execution = Client::new(op_node.execution().url());
    let by_tag = execution.ask("eth_getBlockByNumber", json!(["finalized", true])).await.unwrap();
    let by_number = node.rpc().ask("eth_getBlockByNumber", json!([hex(3), true])).await.unwrap();
    assert_eq!(by_tag.body, by_number.body);
    // The node's own JSON of a block, as the sidecar gets it, gives the same batch.
    assert_eq!(Batch::of(&by_tag.json()["result"]), Batch::of(&block(&chain, 3).json));
    op_node.forget_finalized();
    let unknown = execution.ask("eth_getBlockByNumber", json!(["finalized", true])).await.unwrap();
    assert_eq!((unknown.status, unknown.json()["error"]["code"].as_i64()), (200, Some(-32000)));

    let consensus = Client::new(op_node.consensus().url());
    let config = consensus.call("optimism_rollupConfig", json!([])).await;
    assert_eq!(config["genesis"]["l2"]["hash"], json!(node.genesis_hash()));
    op_node.set_finalized(3);
    let status = consensus.call("optimism_syncStatus", json!([])).await;
    assert_eq!(status["finalized_l2"]["hash"], json!(block(&chain, 3).hash));
    assert_eq!(status["unsafe_l2"]["number"], 5);
    assert_eq!(status["finalized_l1"]["hash"], json!(l1.finalized().await.hash));
    op_node.set_consensus_fault(Some(op_node::Fault::NotReady));
    let status = consensus.call("optimism_syncStatus", json!([])).await;
    assert_eq!(status["finalized_l1"]["number"], 0);
}

/// A HotShot with some blocks: of ours, two batches at 2 and 4.
async fn hotshot_with_batches() -> (Hotshot, L1Block) {
    let (hash, parent_hash) = (B256::ZERO, B256::ZERO);
    let genesis = L1Block { number: 0, hash, parent_hash, timestamp: 1_700_000_000 };
    let hotshot = Hotshot::start(genesis).await;
    for height in 1..=5 {
        let payloads =
            if height % 2 == 0 { vec![vec![height; 9], vec![height; 90]] } else { vec![] };
        for payload in payloads {
            hotshot.submit(Transaction { namespace: namespace(), payload, confirms: Vec::new() });
        }
        hotshot.mine(genesis, genesis);
    }
    (hotshot, genesis)
}

async fn get(hotshot: &Hotshot, path: &str) -> Value {
    let answer = send(http().get(format!("{}v1/{path}", hotshot.url()))).await.unwrap();
    if answer.status == 200 { answer.json() } else { json!(answer.status) }
}

/// Headers, paths, `vid/common` and answers belong together.
#[tokio::test]
async fn fixture_hotshot_proves_what_it_shows() {
    let (hotshot, genesis) = hotshot_with_batches().await;
    let get = async |path: &str| get(&hotshot, path).await;
    let headers = get("availability/header/0/6").await;
    let path = get("block-state/5/4").await;
    let next = get("availability/vid/common/4").await;
    let commitment = header::commitment(&headers[4]);
    assert_eq!(next["block_hash"], tagged_base64("BLOCK", commitment.as_slice()));
    assert_eq!(next["payload_hash"], headers[4]["fields"]["payload_commitment"]);
    let elem = &path["proof"][0]["Leaf"]["elem"];
    assert_eq!(*elem, tagged_base64("FIELD", commitment.as_slice()));
    assert_eq!(get("block-state/5/5").await, 404);
    assert_eq!(get("block-state/7/5").await, 404);
    let root = untagged(headers[5]["fields"]["block_merkle_tree_root"].as_str().unwrap());
    assert_eq!(hotshot.light_client_root(5), rescue::hash(&root));

    // Ours is not alone in block 4, and its answer is that of its own proof.
    let answer = get(&format!("availability/block/4/namespace/{}", namespace())).await;
    assert_eq!(answer["proof"]["V2"]["ns_index"], 1);
    assert_eq!(answer["transactions"].as_array().unwrap().len(), 2);
    assert_eq!(next["common"]["V2"]["ns_commits"].as_array().unwrap().len(), 2);
    assert_eq!(next["common"]["V2"]["param"]["total_weights"], 10);

    // A wrongly encoded namespace: no proof where others have theirs, one at a route of its own.
    hotshot.encode_next(namespace(), Encoding::AlteredParity);
    hotshot.submit(Transaction { namespace: namespace(), payload: vec![6], confirms: Vec::new() });
    hotshot.mine(genesis, genesis);
    let routes = [
        (Proven::Apart, format!("availability/incorrect-encoding-proof/6/{}", namespace())),
        (
            Proven::ApartByNamespace,
            format!("availability/incorrect-encoding/{}/block/6", namespace()),
        ),
        (Proven::Inline, format!("availability/block/6/namespace/{}", namespace())),
    ];
    for proven in [Proven::Apart, Proven::ApartByNamespace, Proven::Inline, Proven::Nowhere] {
        hotshot.set_proven(proven);
        for (route, path) in &routes {
            let answer = get(path).await;
            let claim = if *route == Proven::Inline { &answer["proof"] } else { &answer };
            assert_eq!(claim["V2IncorrectEncoding"].is_object(), *route == proven, "{answer}");
        }
    }
    let range = get(&format!("availability/block/6/7/namespace/{}", namespace())).await;
    assert_eq!(range, json!([{"proof": null, "transactions": []}]));

    // AvidM before 0.6.
    hotshot.set_version(5);
    hotshot.set_weight(11);
    hotshot.mine(genesis, genesis);
    assert_eq!(get("availability/header/7").await["version"]["Version"]["minor"], 5);
    let common = get("availability/vid/common/7").await;
    assert_eq!(common["common"]["V1"], json!({"total_weights": 11, "recovery_threshold": 4}));
}

/// Each lie changes an answer of its service, and no other one's.
#[tokio::test]
async fn fixture_hotshot_lies_per_service() {
    let (liar, genesis) = hotshot_with_batches().await;
    let honest = liar.another().await;
    liar.forge();
    let forged = Transaction { namespace: namespace(), payload: vec![6], confirms: Vec::new() };
    liar.submit_forged(forged);
    liar.mine(genesis, genesis);
    let paths = [
        format!("availability/block/0/7/namespace/{}", namespace()),
        format!("availability/incorrect-encoding-proof/4/{}", namespace()),
        "availability/header/0/7".into(),
        "availability/vid/common/4".into(),
        "block-state/5/2".into(),
    ];
    let answers = async |service: &Hotshot| {
        let mut answers = Vec::new();
        for path in &paths {
            answers.push(get(service, path).await);
        }
        answers
    };
    let truth = answers(&honest).await;
    assert_eq!(answers(&liar).await, truth);
    let (blocks, claim, headers, common, path) = (0, 1, 2, 3, 4);
    for (lie, changed) in [
        (Lie::TransactionDropped, &[blocks][..]),
        (Lie::TransactionAdded, &[blocks]),
        (Lie::TransactionsReordered, &[blocks]),
        (Lie::TransactionAltered, &[blocks]),
        (Lie::NamespaceAbsent, &[blocks]),
        (Lie::ProofOfAnotherNamespace, &[blocks]),
        (Lie::ProofOfAnotherHeight, &[blocks]),
        (Lie::ProofOfAnotherVersion, &[blocks]),
        (Lie::Weight, &[common]),
        (Lie::Threshold, &[blocks, common]),
        (Lie::WronglyEncoded, &[blocks, claim]),
        (Lie::WronglyEncodedAtMoreWeight, &[blocks, claim, common]),
        (Lie::HeaderAltered(3), &[headers]),
        (Lie::HeaderSkipped(3), &[headers]),
        (Lie::HeadersSwapped(3), &[headers]),
        (Lie::UnknownVersion(3), &[headers]),
        (Lie::PathToAnotherRoot, &[path]),
        (Lie::ForgedChain, &[blocks, headers]),
    ] {
        liar.set_fault(Some(Fault::Lie(lie)));
        let told = answers(&liar).await;
        let differ: Vec<usize> =
            (0..paths.len()).filter(|answer| told[*answer] != truth[*answer]).collect();
        assert_eq!(differ, changed, "{lie:?}");
        assert_eq!(answers(&honest).await, truth, "{lie:?}");
    }
    liar.set_fault(None);
    assert_eq!(answers(&liar).await, truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn fixture_hotshot_streams_headers() {
    let (hash, parent_hash) = (B256::ZERO, B256::ZERO);
    let genesis = L1Block { number: 0, hash, parent_hash, timestamp: 1_700_000_000 };
    let hotshot = Hotshot::start(genesis).await;
    for _ in 0..3 {
        hotshot.mine(genesis, genesis);
    }
    let path = "v1/availability/stream/headers/2";
    let mut stream = Connection::open_path(hotshot.url().trim_end_matches('/'), path).await;
    let mut height = async || {
        let header = stream.message().await.into_text().unwrap();
        serde_json::from_str::<Value>(&header).unwrap()["fields"]["height"].clone()
    };
    assert_eq!((height().await, height().await), (json!(2), json!(3)), "what there is");
    hotshot.mine(genesis, genesis);
    assert_eq!(height().await, json!(4), "what comes");
}
