//! The verifier of `run`, over a store that writes nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    cli::dependencies::{Clients, Dependencies},
    config::Config,
    head::HeadKeeper,
    store::{DryStore, StoreError},
    telemetry::{Metrics, metrics::Purpose},
    upstream::Upstream,
    verifier::{Board, Findings, StallKind},
};

/// Rounds after which a head is one that `run` would publish.
const ROUNDS: u64 = 3;
/// How long a first head is waited for: a single L1 endpoint must say twice what is final.
const LONGEST: Duration = Duration::from_secs(30);
/// How often is looked whether enough rounds are done.
const GLANCE: Duration = Duration::from_millis(20);

/// A verifier that runs.
pub(super) struct Rehearsal {
    pub(super) dependencies: Dependencies,
    clients: Vec<Upstream>,
    board: Arc<Board>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), StoreError>>,
}

/// What each client was asked in a time.
pub(super) struct Counted {
    pub(super) time: Duration,
    calls: Vec<BTreeMap<Purpose, u64>>,
}

impl Rehearsal {
    pub(super) fn start(clients: Clients, config: &Config, store: DryStore) -> Self {
        let metrics = Metrics::new();
        let counted = clients.all().cloned().collect();
        let dependencies = Dependencies::new(clients, config, &metrics);
        let (keeper, _) = HeadKeeper::new(store, metrics.clone());
        let board = Arc::new(Board::default());
        let (stop, stopped) = watch::channel(false);
        let shown = Arc::clone(&board);
        let verifier = dependencies.clone().verifier(config, keeper, shown, metrics, stopped);
        let task = tokio::spawn(verifier);
        Self { dependencies, clients: counted, board, stop, task }
    }

    pub(super) fn findings(&self) -> Arc<Findings> {
        self.board.findings()
    }

    /// Waits for the first head, or until none will come: with `hopeless`, after a few rounds.
    pub(super) async fn settle(&self, interval: Duration, hopeless: bool) {
        let least = interval.saturating_mul(2).min(LONGEST);
        let done = async {
            sleep(least).await;
            loop {
                let findings = self.findings();
                let is_passing = matches!(
                    StallKind::from(&findings.stall),
                    StallKind::Starting
                        | StallKind::ChainUnknown
                        | StallKind::NoAnchor
                        | StallKind::Advancing
                        | StallKind::CatchingUp
                );
                let is_settled = findings.head.is_some() || !is_passing || hopeless;
                if self.task.is_finished() || (findings.rounds >= ROUNDS && is_settled) {
                    return;
                }
                sleep(GLANCE).await;
            }
        };
        // What is known by then is shown.
        _ = timeout(LONGEST, done).await;
    }

    /// Counts what the verifier asks in a time.
    pub(super) async fn count(&self, time: Duration) -> Counted {
        let before: Vec<_> = self.clients.iter().map(Upstream::calls).collect();
        let started = Instant::now();
        sleep(time).await;
        let calls = self.clients.iter().zip(before);
        let calls = calls.map(|(client, before)| {
            let calls = client.calls().into_iter();
            let new = calls.map(|(purpose, count)| {
                let count = count - before.get(&purpose).copied().unwrap_or(0);
                (purpose, count)
            });
            new.filter(|(_, count)| *count > 0).collect()
        });
        Counted { time: started.elapsed(), calls: calls.collect() }
    }

    /// Ends the verifier; its error is that the stored head is of another chain.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        self.stop.send_replace(true);
        self.task.await.unwrap_or(Ok(()))
    }
}

impl Counted {
    /// The same per hour, client by client.
    pub(super) fn per_hour(&self) -> impl Iterator<Item = BTreeMap<&'static str, u64>> {
        let milliseconds = self.time.as_millis().max(1);
        let per_hour = move |count: u64| {
            let count = u128::from(count) * 3_600_000;
            u64::try_from(count.div_ceil(milliseconds)).unwrap_or(u64::MAX)
        };
        self.calls.iter().map(move |calls| {
            let hourly = |(purpose, count): (&Purpose, &u64)| (purpose.as_str(), per_hour(*count));
            calls.iter().map(hourly).collect()
        })
    }
}
