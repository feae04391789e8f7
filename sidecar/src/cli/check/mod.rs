//! `check`: asks everything once as `run` would, and says what is wrong.

mod endpoints;
mod judge;
mod namespace;
mod parent;
mod rehearsal;
mod report;

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Args;
use tokio::runtime::Runtime;

use self::{
    endpoints::Endpoint,
    namespace::Reader,
    rehearsal::Rehearsal,
    report::{LightClient, Remark, Report, Stored},
};
use super::{
    dependencies::Clients,
    exit::{CHECK_FAILED, Failure},
    flags::SettingFlags,
};
use crate::{
    batchers::BatcherSource,
    config::{Config, HotshotProofs, RollupKind},
    l1::FinalizedState,
    store::{self, DryStore, Identity, Store as _, engine::Engine as _},
    telemetry::Metrics,
    verifier::{Findings, NO_AUTHENTICATOR, Stall},
};

pub use judge::Found;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    flags: SettingFlags,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// How long to count calls to each endpoint, if nothing else is wrong; 0s does not count
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    #[arg(allow_negative_numbers = true, value_parser = duration)]
    count: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a duration, such as 30s or 2m".into())
}

/// Prints what was found; exits with 0 if nothing is wrong, otherwise with 4.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let config = Config::from_values(&arguments.flags.gather())?;
    // It fails only if a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let (store, stored) = open_store(&config);
    if stored.error.is_none() {
        config.check_start_position(store.record())?;
    }
    let runtime = Runtime::new().map_err(Failure::failed)?;
    let asked = runtime.block_on(ask(&config, arguments.count, store, stored));
    runtime.shutdown_background();
    let report = asked.map_err(|error| Failure::failed(format_args!("{error:#}")))?;
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &report).map_err(Failure::failed)?;
        writeln!(out)?;
    } else {
        // What a dependency says may hold anything.
        let text = report.to_string().replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        out.write_all(text.as_bytes())?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { CHECK_FAILED.into() })
}

/// The state file, without touching it.
fn open_store(config: &Config) -> (DryStore, Stored) {
    let path = &config.store_path;
    let opened = store::check_writable(path).and_then(|()| DryStore::open(path));
    let (store, error) = match opened {
        Ok(store) => (store, None),
        Err(error) => (DryStore::default(), Some(error.to_string())),
    };
    let record = store.record();
    let stored = Stored {
        path: path.clone(),
        number: record.map(|record| record.number),
        hash: record.and_then(|record| record.hash),
        restart_hotshot_height: record.and_then(|record| record.restart_height),
        error,
    };
    (store, stored)
}

async fn ask(
    config: &Config,
    count: Duration,
    store: DryStore,
    stored: Stored,
) -> anyhow::Result<Report> {
    let is_audited =
        config.hotshot_proofs != HotshotProofs::Off && config.light_client_address.is_some();
    let endpoints =
        endpoints::ask(&Clients::new(config, &Metrics::new())?, config.rollup, is_audited).await;
    let problems = judge::of_endpoints(&endpoints);
    let rehearsal = Rehearsal::start(Clients::new(config, &Metrics::new())?, config, store);
    rehearsal.settle(config.verification_interval, !problems.is_empty()).await;
    let findings = rehearsal.findings();
    let mut report = begin(endpoints, problems, stored, &findings);
    report.light_client = ask_light_client(config, &rehearsal, &findings).await;
    ask_batchers(&mut report, config, &rehearsal).await;
    if let Some(chain) = findings.chain {
        let services = rehearsal.dependencies.services(chain.namespace);
        let tenures = &report.batchers.tenures;
        let said = report.endpoints.iter().find_map(|endpoint| endpoint.genesis_block);
        let reader = match config.rollup {
            RollupKind::Op => Reader::op(tenures),
            RollupKind::Nitro => {
                let genesis = config.genesis_block.or(said).unwrap_or(0);
                Reader::nitro(chain.chain_id, genesis, tenures)
            }
        };
        report.namespace = namespace::read(&services, chain.namespace, &reader).await;
    }
    if config.rollup == RollupKind::Nitro {
        report.problems.extend(judge::of_nitro_nodes(&report.endpoints));
        let parent = rehearsal.dependencies.parent(config);
        let bridge = config.bridge_address.unwrap_or_default();
        let parent = parent::ask(&parent, config.verification_interval).await;
        report.problems.extend(judge::of_parent(&parent, bridge));
        report.parent = Some(parent);
    }
    judge(&mut report, &findings, config);
    report.problems.extend(ask_engine(config, &findings).await);
    if report.problems.is_empty() && !count.is_zero() {
        let counted = rehearsal.count(count).await;
        report.counted_ms = u64::try_from(counted.time.as_millis()).ok();
        for (endpoint, calls) in report.endpoints.iter_mut().zip(counted.per_hour()) {
            endpoint.calls_per_hour = Some(calls);
        }
    }
    if let Err(error) = rehearsal.end().await {
        report.problems.retain(|problem| problem.code != report.reason_code);
        let code = Stall::ConfigMismatch(String::new()).code();
        report.problems.push(Remark::new(code, Some("store_path"), error.to_string()));
    }
    report.ok = report.problems.is_empty();
    Ok(report)
}

fn begin(
    endpoints: Vec<Endpoint>,
    problems: Vec<Remark>,
    store: Stored,
    findings: &Findings,
) -> Report {
    Report {
        ok: false,
        problems,
        notes: judge::notes(&endpoints, findings),
        endpoints,
        chain: findings.chain,
        l1_finalized: findings.l1_finalized,
        namespace: None,
        batchers: findings.batchers.clone(),
        light_client: None,
        parent: None,
        proofs: findings.proofs.clone(),
        store,
        first_head: findings.head.as_deref().cloned(),
        reason_code: findings.stall.code(),
        reason: findings.stall.to_string(),
        counted_ms: None,
    }
}

/// Adds what is wrong beside the endpoints.
fn judge(report: &mut Report, findings: &Findings, config: &Config) {
    if let Some(error) = &report.store.error {
        let code = Stall::StoreUnwritable(String::new()).code();
        report.problems.push(Remark::new(code, Some("store_path"), error.clone()));
    }
    if let Some(error) = &report.batchers.error {
        let code = Stall::BatchersUnknown(String::new()).code();
        let setting = Some("batch_authenticator_address");
        report.problems.push(Remark::new(code, setting, error.clone()));
    }
    let client = report.light_client.as_ref();
    let client = client.and_then(|it| judge::of_light_client(it, findings.hotshot.height));
    report.problems.extend(client);
    report.problems.extend(judge::of_namespace(report, findings, config));
    let (problem, note) = judge::of_state(&findings.stall, report);
    report.problems.extend(problem);
    report.notes.extend(note);
}

/// What is wrong with the etcd in which replicas publish, if there is one.
async fn ask_engine(config: &Config, findings: &Findings) -> Option<Remark> {
    let remark = |text| Some(Remark::new(Stall::CutOff(String::new()).code(), Some("store"), text));
    let client = match config.stores().client() {
        Ok(client) => client?,
        Err(error) => return remark(error.to_string()),
    };
    // Without a chain, its key is not known; why there is none is a problem of its own.
    let chain = findings.chain?;
    let (genesis_hash, namespace) = (chain.genesis_hash, chain.namespace);
    let etcd = client.of(Identity { chain_id: chain.chain_id, genesis_hash, namespace });
    etcd.load().await.err().and_then(|error| remark(error.to_string()))
}

/// The batchers, which the verifier does not ask for while it has no block to start from.
async fn ask_batchers(report: &mut Report, config: &Config, rehearsal: &Rehearsal) {
    if !report.batchers.tenures.is_empty() || report.batchers.error.is_some() {
        return;
    }
    let rollup = report.endpoints.iter().find_map(|endpoint| endpoint.rollup.as_ref());
    let contract = match (config.batchers(), rollup) {
        (BatcherSource::Fixed(tenures), _) => {
            report.batchers.tenures = tenures;
            return;
        }
        (BatcherSource::Contract(Some(contract)), _) => Some(contract),
        (BatcherSource::Contract(None), Some(rollup)) => rollup.authenticator(),
        (BatcherSource::Contract(None), None) => return,
    };
    let Some(contract) = contract else {
        report.batchers.error = Some(NO_AUTHENTICATOR.into());
        return;
    };
    let Some(block) = report.l1_finalized else { return };
    let history = rehearsal.dependencies.batchers(contract, block).await;
    report.batchers.contract = Some(contract);
    match history {
        Ok(history) => {
            report.batchers.tenures = history.tenures;
            report.batchers.read_at = Some(block);
            report.batchers.active_is_espresso = history.active_is_espresso;
        }
        Err(error) => report.batchers.error = Some(error.to_string()),
    }
}

async fn ask_light_client(
    config: &Config,
    rehearsal: &Rehearsal,
    findings: &Findings,
) -> Option<LightClient> {
    let contract = config.light_client_address?;
    let unknown = LightClient { contract, height: None, root: None, error: None };
    let Some(block) = findings.l1_finalized else { return Some(unknown) };
    Some(match rehearsal.dependencies.light_client(contract, block).await {
        Ok(FinalizedState { block_height, root }) => {
            LightClient { height: Some(block_height), root: Some(root), ..unknown }
        }
        Err(error) => LightClient { error: Some(error.to_string()), ..unknown },
    })
}
