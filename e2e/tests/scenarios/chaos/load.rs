//! Fifty replicas and four thousand pollers on one etcd, and the figures of docs/benchmarks.md.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use finality_core::head::Status;
use finality_e2e::{
    etcd::Etcd,
    history::{self, Kind},
    process,
    wait::until,
};
use finality_sidecar::store::engine::Quorum;
use tokio::{sync::watch, task::JoinSet};

use super::{
    RECOVERY,
    member::{Member, World},
    record::Record,
};

/// Replicas and pollers.
const FEW: (usize, usize) = (3, 240);
const MANY: (usize, usize) = (50, 4_000);
/// Blocks, each of which every poller must see.
const BLOCKS: u64 = 24;
const STRICT: usize = 2_000;

fn percentiles(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("{name}: p50 {:.1?}, p99 {:.1?}, of {}", at(50), at(99), times.len());
}

/// All replicas serve at least this number.
async fn all_serve(members: &[Arc<Member>], number: u64) {
    for member in members {
        until("the head", RECOVERY, async || {
            let head = member.report()?;
            (head.number >= number && head.status == Status::Ok).then_some(())
        })
        .await;
    }
}

/// How long it takes until a head is confirmed: a busy etcd may not answer in the time that a
/// question has, and a client asks again.
async fn confirmed(member: &Member) -> Duration {
    let begun = Instant::now();
    let asked = async {
        while member.confirm().await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(RECOVERY, asked).await.expect("a confirmation in time");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_load_of_fifty_replicas_and_four_thousand_pollers() {
    for (replicas, pollers) in [FEW, MANY] {
        println!("{replicas} replicas, {pollers} pollers");
        measure(replicas, pollers).await;
    }
}

async fn measure(replicas: usize, polling: usize) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let folder = process::folder();
    let etcd = Etcd::start(folder.path()).await;
    let (world, record) = (Arc::new(World::default()), Record::new());
    let members: Vec<_> = (0..replicas).map(|_| Arc::new(Member::new(&etcd))).collect();
    for member in &members {
        member.start(Quorum::One, &world, &record).await;
    }
    world.tip.store(1, Ordering::Relaxed);
    all_serve(&members, 1).await;

    // How long after its block is there each poller has it.
    let (block, blocks) = watch::channel((1_u64, Instant::now()));
    let seen = Arc::new(AtomicUsize::new(0));
    let mut pollers = JoinSet::new();
    for poller in 0..polling {
        let mut head = members[poller % replicas].head().unwrap();
        let (blocks, seen) = (blocks.clone(), Arc::clone(&seen));
        pollers.spawn(async move {
            let mut delays = Vec::new();
            for number in 2..=BLOCKS {
                let has = |head: &Option<Arc<_>>| super::member::number_of(head) >= Some(number);
                drop(head.wait_for(has).await);
                delays.push(blocks.borrow().1.elapsed());
                seen.fetch_add(1, Ordering::Relaxed);
            }
            delays
        });
    }
    for number in 2..=BLOCKS {
        block.send_replace((number, Instant::now()));
        world.tip.store(number, Ordering::Relaxed);
        let all = polling * usize::try_from(number - 1).unwrap();
        until("all pollers", RECOVERY, async || {
            (seen.load(Ordering::Relaxed) == all).then_some(())
        })
        .await;
    }
    let delays = pollers.join_all().await.concat();
    percentiles("node has a block (asked every 20 ms) -> a poller of any replica has it", delays);

    // Strict requests at one replica: a hundred a second, then a thousand.
    let mut alone = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..STRICT / 10 {
        ticks.tick().await;
        alone.push(confirmed(&members[0]).await);
    }
    percentiles("strict request, a hundred a second", alone);
    record.take();
    let begun = Instant::now();
    let mut strict = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    for _ in 0..STRICT {
        ticks.tick().await;
        let member = Arc::clone(&members[0]);
        strict.spawn(async move { confirmed(&member).await });
    }
    let answered = strict.join_all().await;
    let time = begun.elapsed();
    let operations = record.take();
    let reads = operations.iter().filter(|operation| operation.kind == Kind::Read).count();
    println!(
        "{STRICT} strict requests in {time:.1?}: {reads} reads of etcd, those of all ticks too"
    );
    percentiles("strict request, a thousand a second", answered);

    // The leader goes away.
    for (name, frozen) in [("killed", false), ("frozen", true)] {
        let leader = etcd.leader().await;
        let number = world.tip.load(Ordering::Relaxed) + 1;
        if frozen {
            etcd.freeze(leader, true)
        } else {
            etcd.kill(leader)
        }
        let begun = Instant::now();
        world.tip.store(number, Ordering::Relaxed);
        let elected = async {
            etcd.leader_without(Some(leader)).await;
            begun.elapsed()
        };
        let published = async {
            until("a publication", RECOVERY, async || {
                (members[0].report()?.number >= number).then_some(())
            })
            .await;
            begun.elapsed()
        };
        let (elected, published) = tokio::join!(elected, published);
        println!(
            "leader {name}: another after {elected:.1?}, published again after {published:.1?}"
        );
        if frozen {
            etcd.freeze(leader, false)
        } else {
            etcd.spawn(leader)
        }
        all_serve(&members, number).await;
    }
    members[1].kill();
    let begun = Instant::now();
    members[1].start(Quorum::One, &world, &record).await;
    // Its node is asked about a new head at once.
    world.tip.fetch_add(1, Ordering::Relaxed);
    until("a head", RECOVERY, async || members[1].usable()).await;
    println!("a replica started anew serves after {:.1?}", begun.elapsed());
    for member in &members {
        assert_eq!(history::check_rising(&member.shown.lock().unwrap()), Ok(()));
    }
}
