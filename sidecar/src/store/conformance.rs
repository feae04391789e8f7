//! What every engine does: the suite runs on the one of the model tests and on real etcd members.

use alloy_primitives::B256;
use finality_core::head::Source;
use finality_sidecar::store::{
    Identity, StoreId,
    engine::{Advance, Engine, News, Report, SharedHead},
};

pub(crate) const IDENTITY: Identity =
    Identity { chain_id: 7, genesis_hash: B256::repeat_byte(0xab), namespace: 7 };

pub(crate) fn head(number: u64) -> SharedHead {
    SharedHead::new(IDENTITY, 0, number, Source::Espresso)
}

/// The first publication, a race, and who follows.
pub(crate) async fn one_head_is_kept(engine: &impl Engine) {
    let empty = engine.load().await.unwrap();
    assert_eq!(empty.published, None);
    let mut watch = engine.watch(empty.at.revision).await.unwrap();
    let Advance::Done(first) = engine.advance(None, &head(5)).await.unwrap() else {
        panic!("there is none yet")
    };
    let first = first.published.unwrap();
    // The same question again, as after a lost answer, is none of another replica.
    let again = engine.advance(None, &head(5)).await.unwrap();
    assert!(matches!(again, Advance::Done(reading) if reading.published.as_ref() == Some(&first)));
    let Advance::Lost(winner) = engine.advance(None, &head(6)).await.unwrap() else {
        panic!("another one was first")
    };
    assert_eq!(winner.published.as_ref(), Some(&first));
    let race = (7..11).map(|number| async move {
        engine.advance(Some(first.revision), &head(number)).await.unwrap()
    });
    let outcomes = futures::future::join_all(race).await;
    let won = outcomes.iter().filter(|outcome| matches!(outcome, Advance::Done(_))).count();
    assert_eq!(won, 1);
    let last = engine.load().await.unwrap();
    assert!(last.at.follows(empty.at) && !empty.at.follows(last.at));
    for expected in [Some(first), last.published] {
        let News::Head(news) = watch.next().await.unwrap() else { panic!("nobody reports") };
        assert_eq!(news.published, expected);
    }
}

/// What replicas tell each other, and how it ends.
pub(crate) async fn reports_live_as_long_as_their_replicas(engines: [&impl Engine; 2]) {
    let report = |replica: &str, number| Report {
        replica: StoreId::try_from(replica.to_owned()).unwrap(),
        number,
        hash: B256::repeat_byte(1),
        l1_origin: None,
        source: Source::Espresso,
    };
    let [first, second] = engines;
    first.report(&report("a", 5)).await.unwrap();
    let mut watch = first.watch(first.load().await.unwrap().at.revision).await.unwrap();
    second.report(&report("b", 6)).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), News::Reports);
    for number in 7..9 {
        first.report(&report("a", number)).await.unwrap();
    }
    let mut told = first.reports().await.unwrap();
    told.sort_by_key(|report| report.number);
    assert_eq!(told, [report("b", 6), report("a", 8)]);
    second.withdraw(told[0].replica).await.unwrap();
    assert_eq!(first.reports().await.unwrap(), [report("a", 8)]);
}
