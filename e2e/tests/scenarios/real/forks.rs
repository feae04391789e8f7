//! Scenario 13: the head follows every block through the activation of each fork, whatever is in
//! the blocks.

use std::collections::BTreeSet;

use finality_core::head::Source;
use finality_e2e::{
    block::{Block, Chain, block},
    client::hex,
    devnet::Devnet,
    l1::FINALITY_DEPTH,
    real::{
        Real,
        genesis::{FORKS, Forks, Genesis},
    },
    rollup::{OriginPolicy, Rollup},
};
use serde_json::json;

/// Seconds between two forks.
const APART: u64 = 5;

async fn head_follows_every_fork(origins: OriginPolicy) {
    let net = Devnet::real().forks(Forks::Staggered(APART)).origins(origins).start().await;
    let watch = net.watch();
    let genesis = *net.rollup.genesis();
    let [.., isthmus, jovian] = genesis.fork_times();
    loop {
        let now = time(net.rollup.chain().await.last().unwrap());
        if now > jovian + APART {
            break;
        }
        net.rollup.users.deposit().await;
        net.rollup.users.every_kind(now >= isthmus).await;
        net.produce(1).await;
        net.catch_up().await;
    }
    net.produce(2).await;
    // With origins up to L1's tip the last blocks wait for finality.
    net.mine_l1(FINALITY_DEPTH).await;
    let tip = net.head_reaches(net.height().await).await;
    net.assert_tagged_equals_direct().await;

    // Nothing was finalized on L1, so each block was confirmed by itself.
    let report = net.sidecar.head().await.unwrap();
    assert_eq!((report.number, report.source), (tip, Source::Espresso));
    assert_eq!(net.sidecar.batches("mismatch").await, 0.0);
    assert_eq!(net.sidecar.batches("confirmed").await, tip as f64);
    let chain = net.rollup.chain().await;
    activations(&genesis, &chain);
    contents(&net, &chain).await;
    watch.finish().await;
}

fn time(block: &Block) -> u64 {
    block.batch.header.timestamp
}

/// Each fork changed headers, deposits or the info deposit where it should have.
fn activations(genesis: &Genesis, chain: &Chain) {
    let mut format = "0x015d8eb9";
    for (fork, activation) in FORKS.into_iter().zip(genesis.fork_times()) {
        let at = activation - genesis.time;
        let (before, at, after) = (block(chain, at - 1), block(chain, at), block(chain, at + 1));
        assert_eq!(time(at), activation);
        // The block of the activation still has the old format.
        assert!(at.l1_info().starts_with(format), "{fork}: {}", at.l1_info());
        let (old, new) = (&before.batch.header, &at.batch.header);
        match fork {
            "canyon" => assert!(old.withdrawals_root.is_none() && new.withdrawals_root.is_some()),
            "ecotone" => {
                assert!(old.blob_gas_used.is_none() && new.blob_gas_used.is_some());
                format = "0x440a5e20";
            }
            "isthmus" => {
                assert!(old.requests_hash.is_none() && new.requests_hash.is_some());
                format = "0x098999be";
            }
            "jovian" => format = "0x3db6be2b",
            _ => {}
        }
        if ["ecotone", "fjord", "isthmus", "jovian"].contains(&fork) {
            assert!(deposits(at) >= 4, "{fork}: {} deposits", deposits(at));
        }
        assert!(after.l1_info().starts_with(format), "{fork}: {}", after.l1_info());
    }
}

fn deposits(block: &Block) -> usize {
    let transactions = block.json["transactions"].as_array().unwrap().iter();
    transactions.filter(|transaction| transaction["type"] == "0x7e").count()
}

/// All that was sent is in the blocks.
async fn contents(net: &Devnet<Real>, chain: &Chain) {
    let mut kinds = BTreeSet::new();
    let mut longest = 0;
    for block in chain {
        let receipts = net.direct().call("eth_getBlockReceipts", json!([hex(block.number)])).await;
        for receipt in receipts.as_array().unwrap() {
            let text = |name: &str| receipt[name].as_str().unwrap().to_owned();
            let creation = !receipt["contractAddress"].is_null();
            kinds.insert((text("type"), text("status"), creation));
        }
        longest = block
            .batch
            .content
            .transactions
            .iter()
            .map(|bytes| bytes.len())
            .fold(longest, usize::max);
    }
    for (kind, succeeded, creation) in [
        ("0x0", true, false),
        ("0x1", true, false),
        ("0x2", true, false),
        ("0x2", true, true),
        ("0x2", false, false),
        ("0x4", true, false),
        ("0x7e", true, false),
        ("0x7e", false, false),
        ("0x7e", true, true),
    ] {
        let status = if succeeded { "0x1" } else { "0x0" };
        let kind = (kind.to_owned(), status.to_owned(), creation);
        assert!(kinds.contains(&kind), "{kind:?} is not among {kinds:?}");
    }
    assert!(longest > 20_000, "{longest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_every_fork_with_final_origins() {
    head_follows_every_fork(OriginPolicy::Finalized).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_every_fork_with_the_latest_origins() {
    head_follows_every_fork(OriginPolicy::Latest).await;
}
