//! `store show`, `store reset`, `store move` and `store clear-unproven`.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    exit::Failure,
    flags::StoreFlags,
    moving::{self, Move},
    numbers::whole_number,
    shared,
};
use crate::{
    config::Stores,
    store::{self, Audit, FileStore, Record, StateFile, Store, StoreError},
};

/// Commands for the stored head.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the stored head, and whether the Go proxy can start from the file
    Show(Show),
    /// Lower the stored head; no other command does
    Reset(Reset),
    /// Copy the head from a state file to etcd, back, or to another one; it never goes down
    Move(Move),
    /// Serve a head again that was found not to be in HotShot (status unproven)
    ClearUnproven(ClearUnproven),
}

/// Arguments of `store clear-unproven`.
#[derive(Debug, Args)]
pub struct ClearUnproven {
    #[command(flatten)]
    flags: StoreFlags,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Arguments of `store show`.
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    flags: StoreFlags,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `store reset`.
#[derive(Debug, Args)]
pub struct Reset {
    #[command(flatten)]
    flags: StoreFlags,
    /// New head, an L2 block number
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = whole_number::<u64>)]
    to: u64,
    /// HotShot height to resume reading from, at or below the batch that follows the new head; by
    /// default, the light client contract or initial_hotshot_height provides one
    #[arg(long, value_name = "HEIGHT", allow_negative_numbers = true, value_parser = whole_number::<u64>)]
    restart_height: Option<u64>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
///
/// # Errors
/// Bad configuration, a state file that is missing, in use or not usable, or a reset that was not
/// confirmed.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    let out = &mut io::stdout().lock();
    match command {
        Command::Show(arguments) => show(arguments, out)?,
        Command::Reset(reset) => reset_head(reset, out)?,
        Command::Move(arguments) => moving::run(arguments, out)?,
        Command::ClearUnproven(clear) => clear_unproven(clear, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The file is shown whether the engine answers or not.
fn show(show: &Show, out: &mut impl Write) -> Result<(), Failure> {
    let stores = Stores::read(&show.flags.0.gather())?;
    let path = &stores.path;
    let file = store::read(path)?.ok_or(StoreError::Absent { path: path.clone() })?;
    let shared = shared::find(&stores, file.record.identity)?;
    let published = shared.as_ref().map(shared::Shared::published);
    if show.json {
        let mut shown = as_json(path, &file);
        if let (Some(published), Some(members)) = (&published, shown.as_object_mut()) {
            let head = published.as_ref().ok().and_then(Option::as_ref).map(|found| &found.head);
            members.insert("published".into(), json!(head));
        }
        writeln!(out, "{shown}")?;
    } else {
        out.write_all(as_text(path, &file).as_bytes())?;
        let text = match &published {
            Some(Ok(Some(found))) => Some(shared::describe(found)),
            Some(Ok(None)) => Some("nothing".into()),
            Some(Err(_)) => Some("unknown".into()),
            None => None,
        };
        if let Some(text) = text {
            writeln!(out, "{:<15} {text}", "published")?;
        }
    }
    published.transpose().map(drop)
}

/// Whether the Go proxy can start from the file.
fn go_proxy(file: &StateFile) -> String {
    if let Some(height) = file.record.fallback_height.filter(|_| file.go_proxy_can_read()) {
        let resumes = height.saturating_add(1);
        return format!(
            "can start from this file: it reads HotShot from {resumes}, goes back to the block after op-node's safe one, and goes on above {} once it has passed that",
            file.record.number
        );
    }
    let mut zeros = Vec::new();
    if file.record.number == 0 {
        zeros.push("l2_block_number");
    }
    if file.record.fallback_height.is_none() {
        zeros.push("fallback_hotshot_height");
    }
    format!("refuses this file: {} is zero (docs/migration.md)", zeros.join(" and "))
}

fn as_text(path: &Path, file: &StateFile) -> String {
    fn known<T: ToString>(value: Option<&T>) -> String {
        value.map_or_else(|| "unknown".into(), ToString::to_string)
    }
    let record = &file.record;
    let source = json!(record.source);
    let rows: [(&str, String); 11] = [
        ("file", path.display().to_string()),
        ("head", record.number.to_string()),
        ("hash", known(record.hash.as_ref())),
        ("L1 origin", known(record.l1_origin.as_ref())),
        ("confirmed by", source.as_str().unwrap_or_default().to_owned()),
        ("restart height", known(record.restart_height.as_ref())),
        ("chain", known(record.identity.as_ref())),
        ("generation", record.generation.to_string()),
        ("store id", known(file.id.as_ref())),
        ("saved at", record.updated_at.to_string()),
        ("Go proxy", go_proxy(file)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<15} {value}\n")).collect()
}

fn as_json(path: &Path, file: &StateFile) -> serde_json::Value {
    let record = &file.record;
    json!({
        "path": path,
        "number": record.number,
        "hash": record.hash,
        "l1_origin": record.l1_origin,
        "source": record.source,
        "restart_hotshot_height": record.restart_height,
        "fallback_hotshot_height": record.fallback_height.unwrap_or(0),
        "chain_id": record.identity.map(|identity| identity.chain_id),
        "genesis_hash": record.identity.map(|identity| identity.genesis_hash),
        "namespace": record.identity.map(|identity| identity.namespace),
        "generation": record.generation,
        "store": file.id.map(|id| id.to_string()),
        "updated_at": record.updated_at.to_string(),
        "go_proxy_can_read": file.go_proxy_can_read(),
    })
}

/// What to do after a reset that Envoys recognize.
const FOLLOWED: &[u8] =
    b"Start the sidecar: Envoys take the lower head at their next poll. A filter of an \
    earlier version keeps the higher one: change its cache_key, or restart that Envoy.\n";

/// What to do after a reset that looks like another store.
const NOT_FOLLOWED: &[u8] =
    b"Envoy still holds the higher head and keeps the maximum: change cache_key in the \
    filter's configuration, or restart every Envoy. Then start the sidecar.\n";

fn reset_head(reset: &Reset, out: &mut impl Write) -> Result<(), Failure> {
    let stores = Stores::read(&reset.flags.0.gather())?;
    if stores.shared.is_some() {
        let file = store::read(&stores.path)?;
        let identity = file.and_then(|file| file.record.identity);
        let shared = shared::find(&stores, identity)?;
        return shared.map_or(Ok(()), |shared| reset_published(reset, &shared, out));
    }
    let path: PathBuf = stores.path;
    // The lock comes first: with a sidecar running there is nothing to ask.
    let mut store = FileStore::open_for_reset(&path)?;
    let stored = store.ceiling().unwrap_or_default();
    if stored < reset.to {
        return Err(Failure::usage(StoreError::Raise { stored, given: reset.to }));
    }
    if !reset.yes {
        let damaged = if store.record().is_none() { " (from a damaged file)" } else { "" };
        let path = path.display();
        confirm(&format!(
            "Lower the stored head in {path} from {stored}{damaged} to {}?",
            reset.to
        ))?;
    }
    let is_followed = store.reset_is_followed();
    store.reset(reset.to, reset.restart_height)?;
    writeln!(out, "The stored head is {}.", reset.to)?;
    out.write_all(if is_followed { FOLLOWED } else { NOT_FOLLOWED })?;
    Ok(())
}

/// Lowers the head that all replicas publish.
fn reset_published(
    reset: &Reset,
    shared: &shared::Shared,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if reset.restart_height.is_some() {
        return Err(Failure::usage("--restart-height belongs to a state file, not to store"));
    }
    let published = shared.published()?.ok_or_else(|| Failure::failed("nothing is published"))?;
    let stored = published.head.number;
    if stored < reset.to {
        return Err(Failure::usage(StoreError::Raise { stored, given: reset.to }));
    }
    if !reset.yes {
        confirm(&format!("Lower the published head from {stored} to {}?", reset.to))?;
    }
    shared.lower(&published, reset.to)?;
    writeln!(
        out,
        "The published head is {}.\nReplicas that run end with code {}, and take it over when they start again.",
        reset.to,
        super::exit::LOWERED
    )?;
    out.write_all(FOLLOWED)?;
    Ok(())
}

fn clear_unproven(clear: &ClearUnproven, out: &mut impl Write) -> Result<(), Failure> {
    let path = Stores::read(&clear.flags.0.gather())?.path;
    let stored = store::read(&path)?.ok_or(StoreError::Absent { path: path.clone() })?.record;
    if !stored.audit.unproven {
        writeln!(out, "The stored head {} is not unproven.", stored.number)?;
        return Ok(());
    }
    if !clear.yes {
        confirm(&format!(
            "Serve the stored head {} although HotShot does not have it?",
            stored.number
        ))?;
    }
    let mut store = FileStore::open(&path)?;
    let stored = store.record().cloned().unwrap_or(stored);
    let audit = Audit { audited: stored.audit.audited, ..Audit::default() };
    store.save(Record { audit, ..stored.clone() })?;
    // Its own line in the log, whoever reads the output.
    writeln!(
        io::stderr(),
        "{} WARN the head {} was unproven and is served again, by store clear-unproven",
        jiff::Timestamp::now(),
        stored.number
    )?;
    writeln!(out, "The stored head {} is served again.", stored.number)?;
    Ok(())
}

fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "this command asks for confirmation: run it on a terminal, or pass --yes",
        ));
    }
    write!(io::stderr(), "{question} Clients rely on the head never going down. Type yes: ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::failed("not confirmed; nothing was changed"))
    }
}
