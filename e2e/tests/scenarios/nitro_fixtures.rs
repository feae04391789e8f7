//! The fixtures of a Nitro chain, without the sidecar and Envoy.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use finality_e2e::{
    client::{Client, hash, quantity},
    l1::{FINALITY_DEPTH, L1},
    nitro::{
        CHAIN_ID, Nitro, Settings,
        block::Block,
        contracts::{INBOX, selector},
        feed::FeedMessage,
        message::Kind,
        parent::{Parent, ParentChain},
        payloads,
        relay::relay,
        rpc::NODE_INTERFACE,
    },
    process,
    rollup::{OriginPolicy, Rollup},
    signer::Signer,
    websocket::{Connection, Http},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

async fn l1(folder: &Path) -> Arc<L1> {
    let l1 = L1::start(1_700_000_000, Signer::batcher().address(), folder).await;
    l1.mine(2).await;
    Arc::new(l1)
}

#[tokio::test]
async fn fixture_nitro_delayed_inbox() {
    for chain in [ParentChain::L1, ParentChain::Nitro] {
        let folder = process::folder();
        let l1 = l1(folder.path()).await;
        let parent = Parent::start(chain, Arc::clone(&l1), folder.path()).await;
        let latest = async || parent.newest(OriginPolicy::Latest).await;
        assert_eq!(parent.delayed_count(&latest().await).await, 1, "the first message");
        assert_eq!(parent.message(0).await.header.kind, Kind::INIT);

        let user = Address::repeat_byte(0x22);
        let before = latest().await;
        parent.deliver(Kind::DEPOSIT, user, b"some content").await;
        parent.deliver_from_origin(&[7; 70]).await;
        parent.deliver_as(INBOX, Kind::L2, user, B256::repeat_byte(1), b"").await;
        parent.mine(1).await;
        let at = latest().await;
        assert_eq!(parent.delayed_count(&before).await, 1);
        assert_eq!(parent.delayed_count(&at).await, 4);
        let deposit = parent.message(1).await;
        assert_eq!((deposit.header.kind, deposit.header.poster), (Kind::DEPOSIT, user));
        assert_eq!(deposit.header.timestamp, at.timestamp);
        assert_eq!(deposit.header.request_id, Some(B256::from(U256::from(1))));
        assert!(deposit.header.base_fee > Some(U256::ZERO));
        assert_eq!(&deposit.content[..], b"some content");
        assert_eq!(deposit.data_hash, keccak256(&deposit.content));
        let from_origin = parent.message(2).await;
        assert_eq!((from_origin.header.kind, &from_origin.content[..]), (Kind::L2, &[7; 70][..]));
        assert_eq!(from_origin.data_hash, keccak256(&from_origin.content));
        let false_hash = parent.message(3).await;
        assert_eq!((false_hash.data_hash, false_hash.content.len()), (B256::repeat_byte(1), 0));

        // What contracts see as the block's number is L1's, and so does the header say.
        let block = Client::new(parent.url());
        let block = block.call("eth_getBlockByNumber", json!(["latest", false])).await;
        assert_eq!(hash(&block["hash"]), at.hash);
        let expected = match chain {
            ParentChain::L1 => at.number,
            ParentChain::Nitro => {
                assert_ne!(at.number, deposit.header.block_number);
                let mix = hash(&block["mixHash"]);
                u64::from_be_bytes(mix[8..16].try_into().unwrap())
            }
        };
        assert_eq!(deposit.header.block_number, expected);
        assert_eq!(expected, l1.latest().await.number);

        parent.set_batch_count(9).await;
        parent.mine(1).await;
        assert_eq!(parent.final_batch_count().await, 0);
        parent.mine(FINALITY_DEPTH).await;
        assert_eq!(parent.final_batch_count().await, 9);

        parent.deliver(Kind::DEPOSIT, user, b"lost").await;
        parent.mine(1).await;
        assert_eq!(parent.delayed_count(&latest().await).await, 5);
        parent.reorg(1).await;
        assert_eq!(parent.delayed_count(&latest().await).await, 4);
    }
}

async fn nitro(folder: &Path, settings: Settings) -> (Nitro, Client) {
    let l1 = l1(folder).await;
    let nitro = Nitro::start(settings, OriginPolicy::Latest, l1, folder).await;
    let rpc = Client::new(nitro.node.server().url());
    (nitro, rpc)
}

#[tokio::test]
async fn fixture_nitro_node_serves_what_its_sequencer_makes() {
    let settings = Settings { genesis: 1_000, parent: ParentChain::Nitro, ..Settings::default() };
    let folder = process::folder();
    let (nitro, rpc) = nitro(folder.path(), settings).await;
    let mut heads = Connection::open(Http::One, nitro.node.server().url().as_str()).await;
    let subscribe = json!({"id": 1, "method": "eth_subscribe", "params": ["newHeads"]});
    heads.send(Message::text(subscribe.to_string())).await;
    heads.message().await;
    for _ in 0..30 {
        nitro.build(1).await;
    }
    let told: Value = serde_json::from_str(heads.message().await.to_text().unwrap()).unwrap();
    assert_eq!(told["params"]["result"]["number"], "0x3e9", "{told}");
    assert_eq!(rpc.call("eth_blockNumber", json!([])).await, "0x406");
    let (mut types, mut parent) = (BTreeSet::new(), nitro.node.genesis_hash());
    for block in nitro.chain().await {
        let number = format!("{:#x}", block.header.number);
        let json = rpc.call("eth_getBlockByNumber", json!([number, true])).await;
        let header: Header = serde_json::from_value(json.clone()).unwrap();
        assert_eq!((header.hash_slow(), header.parent_hash), (hash(&json["hash"]), parent));
        parent = header.hash_slow();
        let transactions = json["transactions"].as_array().unwrap();
        types.extend(transactions.iter().map(|transaction| quantity(&transaction["type"])));
        let hashes = rpc.call("eth_getBlockByNumber", json!([number, false])).await;
        assert_eq!(hashes["transactions"][0], json["transactions"][0]["hash"]);
    }
    assert_eq!(types, BTreeSet::from([0, 1, 2, 0x64, 0x65, 0x68, 0x69, 0x6a]));

    let batch = async |number: u64| {
        let words = [
            &selector("findBatchContainingBlock(uint64)")[..],
            &U256::from(number).to_be_bytes::<32>(),
        ];
        let data = hex::encode_prefixed(words.concat());
        let call = json!([{"to": NODE_INTERFACE, "data": data}, "latest"]);
        rpc.try_call("eth_call", call).await.map(|batch| U256::from_be_bytes(hash(&batch).0))
    };
    let finalized = nitro.first_finalized().await;
    assert_eq!(finalized, 1_002);
    let block = rpc.call("eth_getBlockByNumber", json!(["finalized", false])).await;
    assert_eq!(quantity(&block["number"]), finalized);
    assert_eq!((batch(1_000).await, batch(1_002).await), (Ok(U256::ZERO), Ok(U256::ONE)));
    assert!(batch(1_003).await.is_err());

    let forked = nitro.chain().await.last().unwrap().clone();
    nitro.sequencer.fork_above(1_029);
    nitro.build(1).await;
    let tip = nitro.chain().await.last().unwrap().clone();
    assert_eq!(tip.header.number, forked.header.number);
    for block in [forked, tip] {
        assert!(nitro.ever_had(block.header.number, block.hash));
    }
}

/// What a node's feed tells is posted as it is.
#[tokio::test]
async fn fixture_nitro_feed_is_relayed() {
    let folder = process::folder();
    let (nitro, _) = nitro(folder.path(), Settings::default()).await;
    nitro.build(2).await;
    let (post, mut posted) = tokio::sync::mpsc::unbounded_channel();
    let url = nitro.feed.url();
    let relay = relay(&url, move |payload| drop(post.send(payload)));
    let payloads = async {
        let mut all = Vec::new();
        while all.len() < 3 {
            all.push(posted.recv().await.unwrap());
            nitro.build(1).await;
        }
        all
    };
    let payloads = tokio::select! {
        payloads = payloads => payloads,
        () = relay => unreachable!("a relay never ends"),
    };
    let signer = Signer::batcher();
    let feed = |block: &Arc<Block>| FeedMessage::of(block).sign_v2(&signer, CHAIN_ID);
    let feed: Vec<_> = nitro.chain().await.iter().map(feed).collect();
    let expected = [&feed[..2], &feed[2..3], &feed[3..4]].map(payloads::v1);
    assert_eq!(payloads, expected);
}

/// The genesis block has no message, and account states have their block.
#[tokio::test]
async fn fixture_nitro_node_knows_the_state_of_each_block() {
    let folder = process::folder();
    let (nitro, rpc) = nitro(folder.path(), Settings::default()).await;
    nitro.build(6).await;
    let genesis = rpc.call("eth_getBlockByNumber", json!(["0x0", true])).await;
    assert_eq!(
        (&genesis["nonce"], &genesis["transactions"]),
        (&json!("0x0000000000000001"), &json!([]))
    );
    let receiver = finality_e2e::accounts::RECEIVER;
    let balance = async |block: &str| {
        let balance = rpc.call("eth_getBalance", json!([receiver, block])).await;
        balance.as_str().unwrap().parse::<U256>().unwrap()
    };
    assert_eq!(balance("0x0").await, U256::ZERO);
    assert!(balance("0x1").await < balance("0x6").await);
    assert!(rpc.try_call("eth_getBalance", json!([receiver, "0x7"])).await.is_err());
    let answer = rpc.post(Bytes::from_static(b"[]")).await.unwrap();
    assert_eq!(answer.json(), json!([]));
}
