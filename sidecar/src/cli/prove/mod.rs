//! `prove`: checks what query services say of a namespace in a block, step by step.

mod recorded;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use espresso_proofs::{Answer, BlockPath, Checkpoint, Evidence, Header, ProvenSize};
use tokio::runtime::Runtime;

use super::{
    exit::{Failure, NOT_PROVEN},
    flags::ProveFlags,
};
use crate::{
    config::{ProofSources, proof_sources},
    espresso::QueryServices,
    l1::L1,
    redact::SecretUrl,
    telemetry::{Metrics, metrics::Target},
    upstream::{Question, Upstream, UpstreamError, UpstreamOptions},
};

/// A single L1 endpoint must say twice what is final, this far apart.
const L1_INTERVAL: Duration = Duration::from_secs(1);
const L1_READINGS: usize = 5;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Height of the HotShot block
    #[arg(long, required_unless_present = "file")]
    height: Option<u64>,
    /// Number of the Espresso namespace
    #[arg(long = "namespace", value_name = "NUMBER")]
    of: u32,
    /// Check as well that the block is under the light client's root at L1's final block
    #[arg(long)]
    root: bool,
    /// Check recorded answers instead of asking
    #[arg(long, value_name = "FILE", conflicts_with = "height")]
    file: Option<PathBuf>,
    #[command(flatten)]
    flags: ProveFlags,
}

/// What is checked.
struct Material {
    header: Header,
    /// None where the header alone says that there is nothing.
    answer: Option<(Answer, u32)>,
    /// Ordinary proofs that bear out the size of the committee.
    witnesses: Vec<ProvenSize>,
    root: Option<(BlockPath, Checkpoint)>,
}

/// Why there is nothing to check, or why a step failed.
enum Stop {
    Step(&'static str, String),
    Failure(Failure),
}

/// Runs the command: prints each step, and exits with 0, or with 2 after the step that failed.
pub fn run(arguments: &Arguments, output: &mut impl Write) -> Result<ExitCode, Failure> {
    let proven = gather(arguments).and_then(|material| check(material, arguments, output));
    match proven {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Stop::Step(name, problem)) => {
            writeln!(output, "{name}: FAILED: {problem}")?;
            Ok(NOT_PROVEN.into())
        }
        Err(Stop::Failure(failure)) => Err(failure),
    }
}

fn gather(arguments: &Arguments) -> Result<Material, Stop> {
    if let Some(file) = &arguments.file {
        return recorded::read(file, arguments.of, arguments.root);
    }
    let Some(height) = arguments.height else {
        return Err(Stop::Failure(Failure::usage("--height or --file is missing")));
    };
    let sources =
        proof_sources(&arguments.flags.0.gather(), arguments.root).map_err(Failure::from)?;
    // It fails only if a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Runtime::new().map_err(Failure::failed)?.block_on(ask(arguments, height, &sources))
}

/// Asks services and L1 for what is checked.
async fn ask(arguments: &Arguments, height: u64, sources: &ProofSources) -> Result<Material, Stop> {
    let metrics = Metrics::new();
    let upstreams = |target, setting, urls: &[SecretUrl]| {
        let options = || UpstreamOptions {
            request_timeout: sources.request_timeout,
            retry_interval: L1_INTERVAL,
            metrics: metrics.clone(),
        };
        let upstream = |url: &SecretUrl| Upstream::new(target, setting, url.clone(), options());
        urls.iter().map(upstream).collect::<Result<Vec<_>, _>>().map_err(Failure::failed)
    };
    let services = upstreams(Target::Query, "query_service_url", &sources.query_services)?;
    let services = QueryServices::new(services, arguments.of, metrics.clone());
    let step = |name| move |error: UpstreamError| failed(name, error);
    let headers = services.headers(height, height.saturating_add(1)).await;
    let header = headers.map_err(step("header"))?.into_iter().next();
    let header = header.ok_or_else(|| Stop::Step("header", "no header".into()))?;
    let service = services.first().ok_or_else(|| Failure::usage("no query service"))?;
    let (mut answer, mut witnesses) = (None, Vec::new());
    if header.namespaces().contains(arguments.of) {
        let given = match service.answers(height, height + 1, Question::BLOCK).await {
            Ok(answers) => answers.into_iter().next().unwrap_or_else(Answer::absent),
            Err(UpstreamError::Absent(_)) => Answer::absent(),
            Err(error) => return Err(failed("namespace", error)),
        };
        let given = match given.has_proof() {
            true => given,
            false => {
                let late = service.late_answer(height).await.map_err(step("namespace"))?;
                late.unwrap_or(given)
            }
        };
        let size = service.committee_size(height).await.map_err(step("committee"))?;
        if given.claims_wrong_encoding() {
            witnesses = services.witnesses(&service, &header, size).await;
        }
        answer = Some((given, size));
    }
    let root = match (arguments.root, sources.light_client) {
        (true, Some(contract)) => {
            let endpoints = upstreams(Target::L1, "l1_rpc", &sources.l1)?;
            let checkpoint = checkpoint(&L1::new(endpoints, L1_INTERVAL), contract).await?;
            if checkpoint.height <= height {
                return Err(Stop::Step(
                    "root",
                    format!(
                        "the light client covers the blocks below {} so far",
                        checkpoint.height
                    ),
                ));
            }
            let path = service.block_path(checkpoint.height, height).await;
            Some((path.map_err(step("path"))?, checkpoint))
        }
        _ => None,
    };
    Ok(Material { header, answer, witnesses, root })
}

/// The light client's state at L1's final block.
async fn checkpoint(l1: &L1, contract: alloy_primitives::Address) -> Result<Checkpoint, Stop> {
    let unread = |error: UpstreamError| failed("light client", error);
    let chain_id = l1.chain_id().await.map_err(unread)?;
    for _ in 0..L1_READINGS {
        if let Some(block) = l1.read(chain_id).await.map_err(unread)?.finalized {
            let state = l1.light_client(contract, block).await;
            let state = state.map_err(|error| Stop::Step("light client", error.to_string()))?;
            return Ok(Checkpoint { height: state.block_height, root: state.root });
        }
        tokio::time::sleep(L1_INTERVAL).await;
    }
    Err(Stop::Step("light client", "L1 reports no final block (l1_rpc)".into()))
}

/// Answers that prove nothing fail a step; without an answer, there is nothing to check.
fn failed(name: &'static str, error: UpstreamError) -> Stop {
    match error {
        UpstreamError::Disproven { .. } | UpstreamError::NoMajority(_) => {
            Stop::Step(name, error.to_string())
        }
        error => Stop::Failure(Failure::failed(format_args!("{name}: {error}"))),
    }
}

/// Checks everything in order, and prints what each step compared.
fn check(material: Material, arguments: &Arguments, output: &mut impl Write) -> Result<(), Stop> {
    let Material { header, answer, witnesses, root } = material;
    let mut say = |name: &str, text: String| {
        writeln!(output, "{name}: {text}").map_err(Failure::from).map_err(Stop::Failure)
    };
    let committed = header.committed().map_err(|error| Stop::Step("header", error.to_string()))?;
    let (height, version) = (header.height(), header.version());
    let shown = header.tagged_commitment().map_or_else(String::new, |text| text.to_string());
    say("header", format!("block {height}, version {version}, commitment {shown}"))?;
    let namespaces = header.namespaces().entries();
    let place = namespaces.iter().position(|(id, _)| *id == arguments.of);
    let count = namespaces.len();
    let namespace = arguments.of;
    match (place, answer) {
        (None, _) => say("table", format!("none of {count} namespaces is {namespace}: empty"))?,
        (Some(place), Some((answer, size))) => {
            say("table", format!("namespace {namespace} is number {} of {count}", place + 1))?;
            say("committee", format!("total weight {size}, borne out by {}", witnesses.len()))?;
            let evidence = answer.check(&header, namespace, size, &witnesses);
            match evidence.map_err(|error| Stop::Step("namespace", describe(&error)))? {
                Evidence::WronglyEncoded => {
                    say("namespace", "proven to be wrongly encoded: empty".into())?;
                }
                evidence => {
                    let commitment = header.payload_commitment();
                    let block = answer.into_block(&evidence);
                    let (transactions, bytes) = (block.payloads().len(), block.length());
                    say("namespace", format!("{bytes} bytes are under {commitment}"))?;
                    say("transactions", transactions.to_string())?;
                }
            }
        }
        (Some(_), None) => return Err(Stop::Step("namespace", "no answer".into())),
    }
    if !arguments.root {
        return Ok(());
    }
    let Some((path, checkpoint)) = root else {
        return Err(Stop::Step("root", "no path and no light client's root".into()));
    };
    let Checkpoint { height: headers, root } = checkpoint;
    if path.height() != height || path.commitment() != committed {
        return Err(Stop::Step("path", format!("of another header than {height}")));
    }
    say("path", format!("from header {height} to the root of {headers} headers"))?;
    checkpoint.check_path(&path).map_err(|error| Stop::Step("root", error.to_string()))?;
    say("root", format!("its hash is the light client's, {root:#x}"))
}

fn describe(error: &espresso_proofs::NamespaceError) -> String {
    format!("{}: {error}", error.reason().code())
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
