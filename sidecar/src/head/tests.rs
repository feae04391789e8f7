use super::*;
use crate::store::{
    StoreError,
    memory::{MemoryStore, Writes},
};

fn identity() -> Identity {
    Identity { chain_id: 7, genesis_hash: B256::repeat_byte(1), namespace: 7 }
}

fn block(number: u64) -> HeadBlock {
    let hash = B256::repeat_byte(number as u8);
    HeadBlock { number, hash: Some(hash), l1_origin: Some(BlockId { number: 1, hash }) }
}

#[tokio::test]
async fn a_head_is_visible_only_after_it_was_saved() {
    let disk = MemoryStore::default();
    let store = disk.clone();
    let (mut keeper, watcher) = HeadKeeper::new(store, Metrics::new());
    keeper.bind(identity()).unwrap();
    assert!(watcher.borrow().is_none());
    keeper.confirm(block(5), 50, 40, None).await.unwrap();
    let report = watcher.borrow().clone().unwrap();
    assert_eq!((report.number, report.mode, report.source), (5, Mode::Espresso, Source::Espresso));
    assert_eq!(report.espresso, Some(EspressoPosition { number: 5, hotshot_height: 50 }));

    disk.set_writes(Writes::Fail);
    assert!(keeper.confirm(block(6), 51, 41, None).await.is_err());
    assert!(keeper.finalize(block(9), None, Status::Ok).await.is_err());
    assert_eq!(watcher.borrow().as_ref().unwrap().number, 5);
    assert_eq!(keeper.block(), Some(block(5)));
    assert_eq!(keeper.restart_height(), Some(40));
}

#[tokio::test]
async fn the_time_of_a_head_is_that_of_its_number() {
    let disk = MemoryStore::default();
    let (mut keeper, _watcher) = HeadKeeper::new(disk.clone(), Metrics::new());
    keeper.bind(identity()).unwrap();
    keeper.confirm(block(5), 50, 40, None).await.unwrap();
    assert_eq!((keeper.identity(), keeper.store_problem()), (Some(identity()), None));
    let since = keeper.updated_at();
    keeper.checkpoint(Some(60)).await.unwrap();
    assert_eq!((keeper.updated_at(), keeper.restart_height()), (since, Some(60)));
    let on_disk = disk.on_disk().unwrap();
    assert_eq!((on_disk.updated_at, on_disk.restart_height), (since, Some(60)));
    keeper.confirm(block(6), 51, 41, None).await.unwrap();
    assert!(keeper.updated_at() > since);
}

#[tokio::test]
async fn how_far_hotshot_was_compared_is_shown_with_the_head_and_outlives_it() {
    let disk = MemoryStore::default();
    let (mut keeper, watcher) = HeadKeeper::new(disk.clone(), Metrics::new());
    keeper.bind(identity()).unwrap();
    keeper.show_proofs("payload");
    keeper.confirm(block(5), 50, 40, None).await.unwrap();
    let shown = |keeper: &mut HeadKeeper, audited| {
        keeper.set_audited(audited, Vec::new());
        watcher.borrow().as_ref().unwrap().proven.as_ref().unwrap().hotshot_height
    };
    for audited in [None, Some(45), Some(50)] {
        assert_eq!(shown(&mut keeper, audited), audited);
    }
    // What moved the head before is of no matter once Ethereum has moved it.
    keeper.finalize(block(6), None, Status::Ok).await.unwrap();
    let audit = disk.on_disk().unwrap().audit;
    assert_eq!(audit, Audit { audited: Some(50), ..Audit::default() });
}

#[tokio::test]
async fn the_height_for_the_go_proxy_is_that_of_heads_that_ethereum_made_final() {
    let disk = MemoryStore::default();
    let (mut keeper, _watcher) = HeadKeeper::new(disk.clone(), Metrics::new());
    keeper.bind(identity()).unwrap();
    keeper.confirm(block(5), 50, 40, None).await.unwrap();
    assert_eq!(disk.on_disk().unwrap().fallback_height, None);
    keeper.finalize(block(6), Some(41), Status::Ok).await.unwrap();
    assert_eq!(disk.on_disk().unwrap().fallback_height, Some(40));
}

#[tokio::test]
async fn a_stored_head_is_published_from_the_start_and_refused_for_another_chain() {
    let record = Record {
        generation: 0,
        moment: None,
        number: 12,
        hash: None,
        l1_origin: None,
        source: Source::Ethereum,
        restart_height: Some(3),
        fallback_height: None,
        batchers: None,
        identity: Some(identity()),
        updated_at: "2026-01-01T00:00:00.123456Z".parse().unwrap(),
        samples: Vec::new(),
        audit: crate::store::Audit::default(),
    };
    let store = || MemoryStore::with(record.clone());
    let (mut keeper, watcher) = HeadKeeper::new(store(), Metrics::new());
    for _ in 0..2 {
        let report = watcher.borrow().clone().unwrap();
        assert_eq!((report.number, report.hash.clone(), report.mode), (12, None, Mode::Ethereum));
        assert_eq!((report.chain_id, report.status), (7, Status::NodeUnchecked));
        assert_eq!(report.updated_at, "2026-01-01T00:00:00.123Z");
        keeper.bind_chain_id(7).unwrap();
    }

    let (mut keeper, watcher) = HeadKeeper::new(store(), Metrics::new());
    let published = watcher.borrow().clone();
    assert!(matches!(keeper.bind_chain_id(8), Err(StoreError::OtherChain { .. })));
    let other = Identity { namespace: 9, ..identity() };
    assert!(matches!(keeper.bind(other), Err(StoreError::OtherChain { .. })));
    assert_eq!(*watcher.borrow(), published);

    // Imported without its chain.
    let store = MemoryStore::with(Record { identity: None, ..record });
    let (mut keeper, watcher) = HeadKeeper::new(store, Metrics::new());
    assert!(watcher.borrow().is_none());
    keeper.bind_chain_id(8).unwrap();
    assert_eq!(watcher.borrow().as_ref().unwrap().chain_id, 8);
}

#[tokio::test]
async fn status_and_finality_are_published_without_touching_the_number() {
    let (mut keeper, mut watcher) = HeadKeeper::new(MemoryStore::default(), Metrics::new());
    keeper.bind(identity()).unwrap();
    keeper.finalize(block(5), None, Status::Ok).await.unwrap();
    watcher.mark_unchanged();
    let head = keeper.head();
    keeper.observe_status(head, Status::Ok);
    assert!(!watcher.has_changed().unwrap(), "nothing changed");
    keeper.observe_status(Some(block(4)), Status::Diverged);
    assert!(!watcher.has_changed().unwrap(), "of another block");
    keeper.observe_status(head, Status::Diverged);
    assert!(watcher.has_changed().unwrap());
    let report = watcher.borrow_and_update().clone().unwrap();
    assert_eq!((report.number, report.status), (5, Status::Diverged));
    keeper.observe_finalized(block(5));
    keeper.observe_finalized(block(4));
    assert_eq!(watcher.borrow_and_update().as_ref().unwrap().ethereum.unwrap().number, 5);
    keeper.observe_finalized(block(5));
    assert!(!watcher.has_changed().unwrap(), "nothing changed");
    keeper.observe_finalized(block(6));
    assert_eq!(watcher.borrow().as_ref().unwrap().ethereum.unwrap().number, 6);
}
