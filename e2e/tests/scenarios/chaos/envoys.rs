//! Clients that move between two Envoys, each with a sidecar of its own, which has ways of its own
//! to the node and to etcd.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use finality_e2e::{
    client::Client,
    devnet::Devnet,
    envoy::{self, Envoy},
    etcd::Etcd,
    history::{self, Kind, Operation},
    link::{Link, Way},
    process,
    rollup::Rollup,
    sidecar::{Settings, Sidecar},
    wait::until,
};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Dice, Falls, Faults, Moving, RECOVERY, published, record::Record, setting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    LeaderKilled,
    LeaderFrozen,
    QuorumLost,
    DiskFull,
    EtcdCut,
    EtcdHangs,
    EtcdOneWay,
    NodeCut,
    SidecarKilled,
    SidecarFrozen,
}

const FAULTS: [Fault; 10] = [
    Fault::LeaderKilled,
    Fault::LeaderFrozen,
    Fault::QuorumLost,
    Fault::DiskFull,
    Fault::EtcdCut,
    Fault::EtcdHangs,
    Fault::EtcdOneWay,
    Fault::NodeCut,
    Fault::SidecarKilled,
    Fault::SidecarFrozen,
];

/// A sidecar, and two Envoys that ask it: for each request, and by what they were told last.
struct Gate {
    sidecar: Sidecar,
    strict: Envoy,
    cached: Envoy,
    to_etcd: Vec<Link>,
    to_node: Link,
    _folders: [tempfile::TempDir; 3],
}

impl Gate {
    async fn start(net: &Devnet<impl Rollup>, etcd: &Etcd) -> Self {
        let folders = [process::folder(), process::folder(), process::folder()];
        let to_etcd: Vec<_> = (0..3).map(|_| Link::default()).collect();
        let to_node = Link::default();
        let settings = net.sidecar.settings().clone();
        let settings = Settings {
            node_execution_rpc: to_node.to(&settings.node_execution_rpc),
            more: vec![("--store", etcd.store_over(&to_etcd))],
            ..settings
        };
        let sidecar = Sidecar::new(settings, folders[0].path());
        let envoy = |freshness: &str, folder: &tempfile::TempDir| {
            let tags = r#""tags": ["espresso"]"#;
            let members = r#""freshness_timeout": "500ms""#;
            let edit = format!(r#"{tags}, "freshness": "{freshness}", {members}"#);
            let options =
                envoy::Options { edits: vec![(tags.into(), edit)], ..envoy::Options::default() };
            Envoy::new(options, net.rollup.execution_port(), sidecar.port(), folder.path())
        };
        let strict = envoy("strict", &folders[1]);
        let cached = envoy("cached", &folders[2]);
        tokio::join!(sidecar.start(), strict.start(), cached.start());
        Self { sidecar, strict, cached, to_etcd, to_node, _folders: folders }
    }

    fn cut(&self, way: Way) {
        self.to_etcd.iter().for_each(|link| link.set(way));
    }
}

/// The head by a tagged request; none while it is refused.
async fn head(envoy: &Envoy) -> Option<u64> {
    let client = Client::new(envoy.url());
    client.ask("eth_getBlockByNumber", json!(["espresso", false])).await.ok()?.head()
}

/// Begins what a client does again and again, at a gate that the dice choose.
fn clients(gates: &Arc<[Gate; 2]>, record: &Arc<Record>, falls: &Arc<Mutex<Falls>>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..3_u64 {
        let (gates, record) = (Arc::clone(gates), Arc::clone(record));
        let dice = Dice(Mutex::new(client));
        clients.spawn(async move {
            loop {
                let begin = record.now();
                if let Some(number) = head(&gates[dice.below(2)].strict).await {
                    record.add(Kind::Read, begin, Some(record.now()), (0, number));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let (gates, falls) = (Arc::clone(gates), Arc::clone(falls));
    clients.spawn(async move {
        let dice = Dice(Mutex::new(9));
        let mut of_gates = [0; 2];
        let mut moving = Moving::default();
        loop {
            let gate = dice.below(2);
            if let Some(number) = head(&gates[gate].cached).await {
                let before = std::mem::replace(&mut of_gates[gate], number);
                assert!(before <= number, "Envoy {gate} went from {before} to {number}");
                moving.read((0, number), &mut falls.lock().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    clients
}

struct Chaos {
    net: Devnet,
    etcd: Etcd,
    gates: Arc<[Gate; 2]>,
    dice: Dice,
}

impl Chaos {
    /// The chain goes on for a while.
    async fn hold(&self) {
        let time = 300 + u64::try_from(self.dice.below(2_500)).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(time) {
            self.net.produce(1).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One fault, for a while, until it is mended.
    async fn fault(&self, fault: Fault) {
        let gate = &self.gates[self.dice.below(2)];
        match fault {
            Fault::LeaderKilled | Fault::QuorumLost => {
                let leader = self.etcd.leader().await;
                let mut killed = vec![leader];
                killed.extend((fault == Fault::QuorumLost).then_some((leader + 1) % 3));
                killed.iter().for_each(|index| self.etcd.kill(*index));
                self.hold().await;
                killed.iter().for_each(|index| self.etcd.spawn(*index));
            }
            Fault::LeaderFrozen => {
                let leader = self.etcd.leader().await;
                self.etcd.freeze(leader, true);
                self.hold().await;
                self.etcd.freeze(leader, false);
            }
            Fault::DiskFull => {
                let leader = self.etcd.leader().await;
                self.etcd.fill_disk(leader);
                self.hold().await;
                self.etcd.mend_disk(leader).await;
            }
            Fault::EtcdCut => self.cut(gate, Way::Away).await,
            Fault::EtcdHangs => self.cut(gate, Way::Hangs).await,
            Fault::EtcdOneWay => self.cut(gate, Way::OneWay).await,
            Fault::NodeCut => {
                gate.to_node.set(Way::Away);
                self.hold().await;
                gate.to_node.set(Way::Open);
            }
            Fault::SidecarKilled => {
                gate.sidecar.kill();
                self.hold().await;
                gate.sidecar.start().await;
            }
            Fault::SidecarFrozen => {
                gate.sidecar.pause();
                self.hold().await;
                gate.sidecar.resume();
            }
        }
    }

    async fn cut(&self, gate: &Gate, way: Way) {
        gate.cut(way);
        self.hold().await;
        gate.cut(Way::Open);
    }

    /// Everything is well again: all serve one head, which goes on.
    async fn settle(&self, after: &str) {
        self.net.produce(1).await;
        let height = self.net.height().await;
        for gate in &*self.gates {
            for envoy in [&gate.strict, &gate.cached] {
                let what = format!("the head to reach {height} after {after}");
                until(&what, RECOVERY, async || head(envoy).await.filter(|head| *head >= height))
                    .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_chaos_no_client_that_moves_between_envoys_sees_a_strict_head_fall() {
    let seed = setting("FINALITY_E2E_SEED").unwrap_or(1_u64);
    let minutes: Option<u64> = setting("FINALITY_E2E_MINUTES");
    println!("seed {seed}");
    let folder = process::folder();
    let net = Devnet::emulated().start().await;
    let etcd = Etcd::start(folder.path()).await;
    let gates = Arc::new([Gate::start(&net, &etcd).await, Gate::start(&net, &etcd).await]);
    let chaos = Chaos { net, etcd, gates, dice: Dice(Mutex::new(seed)) };
    chaos.settle("the start").await;
    let (record, falls) = (Record::new(), Arc::default());
    let mut clients = clients(&chaos.gates, &record, &falls);
    let mut faults = Faults::new(&FAULTS, minutes);
    while let Some(fault) = faults.next(&chaos.dice) {
        chaos.fault(fault).await;
        chaos.settle(&format!("{fault:?}")).await;
    }
    clients.abort_all();
    while let Some(ended) = clients.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()), "a client ended");
    }
    let reads = record.take();
    // When they were published is not known here: each may have been at any time.
    let published = published(&chaos.etcd).await;
    let writes = published.iter().map(|publication| Operation {
        kind: Kind::Write,
        begin: 0,
        end: None,
        value: publication.value,
    });
    let operations: Vec<_> = writes.chain(reads.iter().copied()).collect();
    assert_eq!(history::check_register((0, 0), &operations), Ok(()));
    assert_eq!(history::check_chain(&published, &[]), Ok(()));
    let mut falls = falls.lock().unwrap();
    assert!(reads.len() > faults.drawn && falls.reads > faults.drawn, "clients were served");
    falls.print();
    println!("seed {seed}: {} faults, {} strict reads, none fell", faults.drawn, reads.len());
}
