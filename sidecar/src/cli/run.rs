//! `run`: from the configuration to a served head, and shutdown.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use finality_core::build;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use super::{
    dependencies::{Clients, Dependencies},
    exit::Failure,
    flags::SettingFlags,
    open_files,
    replicas::Joining,
    secrets,
};
use crate::{
    api::{
        self, ApiState, Phase, events::Streams, history::History, hosts::Hosts, server,
        status::StatusReader,
    },
    config::{Config, SecretFiles, Values},
    head::{Confirmations, HeadKeeper, PublishedHead, Reset},
    store::{FileStore, Store},
    telemetry::{
        Metrics, Traces,
        log::{self, Log},
        traces::TracesError,
    },
    verifier::Board,
};

/// Runs until a signal arrives or the verifier fails for good.
pub fn run(flags: &SettingFlags) -> Result<ExitCode, Failure> {
    let values = flags.gather();
    let config = Config::from_values(&values)?;
    // It fails only if a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = Runtime::new().map_err(Failure::failed)?;
    let variable = |name: &str| std::env::var(name).ok();
    let share = config.trace_sample_ratio;
    let traces = Traces::from_environment(variable, share, runtime.handle().clone());
    let log = log::start(
        &config.log_level,
        config.log_format,
        traces.as_ref().ok().and_then(Option::as_ref),
    );
    let ended = run_logged(&values, config, runtime, traces, &log);
    log.flush();
    ended
}

fn run_logged(
    values: &Values,
    mut config: Config,
    runtime: Runtime,
    traces: Result<Option<Traces>, TracesError>,
    log: &Log,
) -> Result<ExitCode, Failure> {
    tracing::info!(
        version = build::VERSION,
        commit = build::COMMIT,
        platform = build::TARGET,
        "finality-sidecar {}",
        build::LINE
    );
    for note in values.notes() {
        tracing::info!(note, "configuration note");
    }
    // Nothing depends on traces.
    let traces = traces.unwrap_or_else(|error| {
        tracing::warn!(%error, "traces are disabled");
        None
    });
    config.max_connections = open_files::room_for(config.max_connections);
    let files = SecretFiles::of(values);
    let mut store = FileStore::open(&config.store_path)?;
    config.check_start_position(store.record())?;
    let replica = runtime.block_on(Joining::prepare(&config, &mut store))?;
    let limit = config.shutdown_limit;
    let ended = runtime.block_on(serve(config, files, store, replica, log.clone()));
    if let Some(traces) = traces {
        traces.shut_down(limit);
    }
    // A thread that is still busy, for example with a DNS lookup, does not delay the exit.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(match error.downcast_ref::<Reset>() {
            Some(reset) => Failure::lowered(*reset),
            None => Failure::failed(format_args!("{error:#}")),
        }),
    }
}

/// How long a replica may take to leave the others.
const LEAVING: Duration = Duration::from_secs(1);

/// The running verifier, and what it publishes.
struct Verifier {
    head: PublishedHead,
    confirmations: Option<Confirmations>,
    status: Arc<StatusReader>,
    /// Ends after the stop signal, or earlier with an error that trying again does not mend.
    task: JoinHandle<anyhow::Result<()>>,
}

async fn serve(
    config: Config,
    files: SecretFiles,
    store: FileStore,
    replica: Option<Joining>,
    log: Log,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    change_level_on_signal(log.clone())?;
    let listener = TcpListener::bind(config.listen_addr)
        .await
        .with_context(|| format!("cannot listen on {} (listen_addr)", config.listen_addr))?;
    let address = listener.local_addr()?;
    let metrics = Metrics::new();
    let (phase, phases) = watch::channel(Phase::Serving);
    let (stop, stopped) = watch::channel(false);
    let mut verifier = start_verifier(&config, files, store, replica, &metrics, stopped)?;
    let history = Arc::new(History::default());
    let status = Arc::clone(&verifier.status);
    tokio::spawn(Arc::clone(&history).record(move || status.positions()));
    let state = ApiState {
        head: verifier.head.clone(),
        encoded: Default::default(),
        confirmations: verifier.confirmations.clone(),
        status: verifier.status.clone(),
        history,
        hosts: Hosts::new(config.listen_addr.ip(), config.allowed_hosts.as_deref()),
        streams: Streams::new(config.max_connections),
        metrics,
        phase: phases.clone(),
        long_poll_limit: config.long_poll_limit,
        ready_max_age: config.ready_max_age,
    };
    let router = api::router(state);
    let limit = config.shutdown_limit;
    let server =
        tokio::spawn(server::serve(listener, router, config.max_connections, phases, limit));
    tracing::info!(%address, "serving");

    let ended = tokio::select! {
        name = signals.next() => {
            phase.send_replace(Phase::Draining);
            tracing::info!(signal = name, delay = ?config.shutdown_delay, "shutting down");
            None
        }
        ended = &mut verifier.task => Some(ended),
    };
    tokio::spawn(async move {
        let name = signals.next().await;
        tracing::warn!(signal = name, "exiting immediately");
        log.flush();
        std::process::exit(i32::from(super::exit::FAILED));
    });
    if ended.is_none() {
        tokio::time::sleep(config.shutdown_delay).await;
    }
    phase.send_replace(Phase::Closing);
    server.await.context("the HTTP server failed")?;
    stop.send_replace(true);
    let ended = match ended {
        Some(ended) => ended,
        None => wait_for_end(&mut verifier.task, limit).await?,
    };
    ended.context("the verifier failed")??;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for the verifier to stop. What it has published is on disk, so aborting it loses nothing.
async fn wait_for_end(
    task: &mut JoinHandle<anyhow::Result<()>>,
    limit: Duration,
) -> anyhow::Result<Result<anyhow::Result<()>, tokio::task::JoinError>> {
    if let Ok(ended) = tokio::time::timeout(limit, &mut *task).await {
        return Ok(ended);
    }
    tracing::warn!("the verifier did not stop within shutdown_limit");
    task.abort();
    Ok(Ok(Ok(())))
}

/// SIGUSR1 raises the log level, SIGUSR2 restores it. These are signals and not an API path, since
/// anyone who can reach the port could fill the disk or silence the log.
fn change_level_on_signal(log: Log) -> std::io::Result<()> {
    let mut raise = signal(SignalKind::user_defined1())?;
    let mut restore = signal(SignalKind::user_defined2())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = raise.recv() => log.raise(),
                Some(()) = restore.recv() => log.restore(),
                else => return,
            }
        }
    });
    Ok(())
}

/// The signals that stop the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Starts the verifier with the store; it ends when `stopped` becomes true.
fn start_verifier(
    config: &Config,
    files: SecretFiles,
    store: FileStore,
    replica: Option<Joining>,
    metrics: &Metrics,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<Verifier> {
    let clients = Clients::new(config, metrics)?;
    secrets::follow(files, &clients, config.verification_interval);
    let dependencies = Dependencies::new(clients, config, metrics);
    let (mut keeper, head) = HeadKeeper::new(store, metrics.clone());
    let joined = replica.map(|replica| replica.join(&mut keeper, dependencies.node()));
    let (replica, confirmations) = joined.unzip();
    let board = Arc::new(Board::default());
    let shown = dependencies.clone();
    let status = StatusReader::new(Arc::clone(&board), metrics.clone(), move || shown.reports());
    let verifier = dependencies.verifier(config, keeper, board, metrics.clone(), stopped);
    let task = tokio::spawn(async move {
        let Some(replica) = replica else { return Ok(verifier.await?) };
        // A task of its own: it does not wait for work of the verifier.
        let mut replica = tokio::spawn(replica.run());
        tokio::select! {
            ended = verifier => ended?,
            ended = &mut replica => return Ok(ended??),
        }
        // Without a verifier it takes back what it has told the others, and ends.
        match tokio::time::timeout(LEAVING, replica).await {
            Ok(ended) => Ok(ended??),
            Err(_) => Ok(()),
        }
    });
    Ok(Verifier { head, confirmations, status: Arc::new(status), task })
}
