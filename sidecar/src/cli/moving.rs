//! `store move`: the head goes from one store to another, and never down.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::{exit::Failure, flags::StoreFlags, replicas::served_path, shared};
use crate::{
    config::Stores,
    store::{
        self, FileStore, Identity, Record, Store as _, StoreError,
        engine::{Advance, Engine as _, EngineError, News, Previous, Published, SharedHead},
        etcd::{Etcd, EtcdClient, EtcdLocation},
    },
};

/// How long a published head must stand still to have no writer: several blocks.
const STILL: Duration = Duration::from_secs(5);

/// Arguments of `store move`.
#[derive(Debug, Args)]
pub struct Move {
    #[command(flatten)]
    flags: StoreFlags,
    /// Where the head is: a state file, the Go proxy's too, or etcd://…
    #[arg(long, value_name = "STORE")]
    from: String,
    /// Where it is to be: a state file, or etcd://…
    #[arg(long, value_name = "STORE")]
    to: String,
}

/// A store as it is named.
enum Place {
    File(PathBuf),
    Etcd(EtcdClient),
}

/// A store, with what it has.
enum Side {
    File(PathBuf, Option<Record>),
    Etcd(Etcd, Option<Published>),
}

/// Copies the head, unless the other store has it.
pub(super) fn run(arguments: &Move, out: &mut impl Write) -> Result<(), Failure> {
    // It fails only if a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let stores = Stores::read(&arguments.flags.0.gather())?;
    let from = place("--from", &arguments.from, &stores)?;
    let to = place("--to", &arguments.to, &stores)?;
    let runtime = shared::runtime()?;
    let identity = identity(&[&from, &to], &stores.path)?;
    let from = Side::read(from, identity, runtime)?;
    let to = Side::read(to, identity, runtime)?;
    let head = from.record().ok_or_else(|| Failure::failed("there is no head to move (--from)"))?;
    from.has_no_higher_head("--from")?;
    if head.audit.unproven {
        return Err(Failure::failed(format_args!(
            "the head {} is unproven (--from): wait until it is proven or finalized, or run store clear-unproven there",
            head.number
        )));
    }
    let known = to.record();
    if let Some(known) = &known {
        if let (Some(given), Some(stored)) = (head.identity, known.identity) {
            stored.check(given)?;
        }
        if known.order() == head.order() && known.hash.is_none_or(|hash| head.hash == Some(hash)) {
            writeln!(out, "The head {} is there already.", head.number)?;
            return Ok(());
        }
        if known.order() >= head.order() {
            return Err(Failure::failed(format_args!(
                "{} has the head {} of generation {} (--to), which {} of generation {} does not follow; nothing was changed",
                to.name(),
                known.number,
                known.generation,
                head.number,
                head.generation
            )));
        }
    }
    // Both are held, so that nothing is written to either meanwhile.
    let held = from.hold("--from", runtime)?;
    if held.as_ref().is_some_and(|held| held.record().map(Record::order) != Some(head.order())) {
        return Err(Failure::failed("the head moved on meanwhile (--from); run this again"));
    }
    let file = to.hold("--to", runtime)?;
    to.write(file, &head, runtime)?;
    writeln!(out, "The head {} is now in {} as well.", head.number, to.name())?;
    writeln!(out, "Start the sidecars with that store; what --from has is left as it is.")?;
    Ok(())
}

fn place(flag: &str, text: &str, stores: &Stores) -> Result<Place, Failure> {
    if !text.contains("://") {
        return Ok(Place::File(text.into()));
    }
    let location = EtcdLocation::parse(text)
        .map_err(|problem| Failure::usage(format_args!("{flag}: {problem}")))?;
    let stores = Stores { shared: Some(location), ..stores.clone() };
    let client = stores.client().map_err(Failure::usage)?;
    client.map(Place::Etcd).ok_or_else(|| Failure::usage(format_args!("{flag}: no store")))
}

/// The chain: that of a file that is moved from or to, else that of the state file.
fn identity(places: &[&Place], state_file: &Path) -> Result<Option<Identity>, Failure> {
    let files = places.iter().filter_map(|place| match place {
        Place::File(path) => Some(path.as_path()),
        Place::Etcd(_) => None,
    });
    for path in files.chain([state_file]) {
        let file = store::read(path)?;
        if let Some(identity) = file.and_then(|file| file.record.identity) {
            return Ok(Some(identity));
        }
    }
    Ok(None)
}

impl Side {
    fn read(place: Place, identity: Option<Identity>, runtime: &Runtime) -> Result<Self, Failure> {
        match place {
            Place::File(path) => {
                let record = store::read(&path)?.map(|file| file.record);
                Ok(Self::File(path, record))
            }
            Place::Etcd(client) => {
                let etcd = client.of(identity.ok_or_else(|| {
                    Failure::failed(
                        "no file says which chain this is: start the sidecar once on the state file, then move it",
                    )
                })?);
                let published = runtime.block_on(etcd.load()).map_err(failed)?.published;
                Ok(Self::Etcd(etcd, published))
            }
        }
    }

    /// What a replica has verified is not all that it has served.
    fn has_no_higher_head(&self, flag: &str) -> Result<(), Failure> {
        let Self::File(path, record) = self else { return Ok(()) };
        let served = store::read(&served_path(path))?.map(|file| file.record.order());
        match served {
            Some((generation, number)) if served > record.as_ref().map(Record::order) => {
                Err(Failure::failed(format_args!(
                    "the sidecar of this file has served the head {number} of generation {generation} with others ({flag}): start it once without store, then move it"
                )))
            }
            _ => Ok(()),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::File(path, _) => path.display().to_string(),
            Self::Etcd(..) => "etcd".into(),
        }
    }

    fn record(&self) -> Option<Record> {
        match self {
            Self::File(_, record) => record.clone(),
            Self::Etcd(_, published) => {
                let head = published.as_ref().map(|published| &published.head)?;
                Some(Record {
                    // What another file owes to the light client stays with that file.
                    audit: crate::store::Audit::default(),
                    generation: head.generation,
                    moment: None,
                    number: head.number,
                    hash: head.hash,
                    l1_origin: head.l1_origin,
                    source: head.source,
                    restart_height: None,
                    fallback_height: None,
                    batchers: None,
                    identity: Some(head.identity()),
                    updated_at: Timestamp::now(),
                    samples: Vec::new(),
                })
            }
        }
    }

    /// Sees to it that nobody else writes: a file is locked, and a published head must stand still.
    fn hold(&self, flag: &str, runtime: &Runtime) -> Result<Option<FileStore>, Failure> {
        let Self::Etcd(etcd, published) = self else {
            let Self::File(path, _) = self else { return Ok(None) };
            return Ok(Some(FileStore::open(path)?));
        };
        let lives = runtime.block_on(async {
            if !etcd.reports().await?.is_empty() {
                return Ok(true);
            }
            let Some(published) = published else { return Ok(false) };
            let mut watch = etcd.watch(published.revision).await?;
            loop {
                match tokio::time::timeout(STILL, watch.next()).await {
                    Err(_) => return Ok(false),
                    Ok(Ok(News::Head(_))) => return Ok(true),
                    Ok(Ok(News::Reports)) => {}
                    Ok(Err(error)) => return Err(error),
                }
            }
        });
        if lives.map_err(failed)? {
            return Err(Failure::failed(format_args!(
                "sidecars publish in etcd ({flag}): stop them, or start this one with that store, which publishes its head by itself"
            )));
        }
        Ok(None)
    }

    fn write(
        &self,
        file: Option<FileStore>,
        head: &Record,
        runtime: &Runtime,
    ) -> Result<(), Failure> {
        if let Some(mut file) = file {
            let known = file.record().cloned();
            let kept = known.filter(|_| head.restart_height.is_none());
            let head = match kept {
                // Where reading goes on is known better here.
                Some(Record { restart_height, fallback_height, batchers, samples, .. }) => {
                    Record { restart_height, fallback_height, batchers, samples, ..head.clone() }
                }
                None => head.clone(),
            };
            return Ok(file.save(Record { moment: None, ..head })?);
        }
        let Self::Etcd(etcd, published) = self else { return Ok(()) };
        let identity = head.identity.ok_or_else(|| {
            Failure::failed("the head's chain is not known: start the sidecar once on that file")
        })?;
        let mut next = SharedHead::new(identity, head.generation, head.number, head.source);
        (next.hash, next.l1_origin) = (head.hash, head.l1_origin);
        next.previous = published
            .as_ref()
            .map(|published| Previous { revision: published.revision, hash: published.head.hash });
        let seen = published.as_ref().map(|published| published.revision);
        match runtime.block_on(etcd.advance(seen, &next)).map_err(failed)? {
            Advance::Done(_) => Ok(()),
            Advance::Lost(_) => Err(Failure::failed(StoreError::Interrupted(
                "another head was published meanwhile".into(),
            ))),
        }
    }
}

fn failed(error: EngineError) -> Failure {
    Failure::failed(format_args!("etcd: {error}"))
}
