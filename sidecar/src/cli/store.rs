//! `store show` and `store reset`.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{exit::Failure, flags::StoreFlags};
use crate::{
    config,
    store::{self, FileStore, StateFile, Store, StoreError},
};

/// Commands for the state file.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the stored head, and whether the Go proxy can start from the file
    Show(Show),
    /// Lower the stored head; no other command does
    Reset(Reset),
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
    #[arg(long, value_name = "NUMBER")]
    to: u64,
    /// HotShot height to resume reading from, at or below the batch that follows the new head; by
    /// default, the light client contract or initial_hotshot_height provides one
    #[arg(long, value_name = "HEIGHT")]
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
        Command::Show(show) => {
            let path = config::store_path(&show.flags.0.gather())?;
            let Some(file) = store::read(&path)? else {
                return Err(Failure::failed(format_args!(
                    "there is no state file {} (store_path)",
                    path.display()
                )));
            };
            if show.json {
                writeln!(out, "{}", as_json(&path, &file))?;
            } else {
                out.write_all(as_text(&path, &file).as_bytes())?;
            }
        }
        Command::Reset(reset) => reset_head(reset, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the Go proxy would make of the file.
fn go_proxy(file: &StateFile) -> String {
    if file.go_proxy_can_read() {
        let resumes = file.fallback_height.saturating_add(1);
        return format!("can start from this file, reading HotShot from {resumes}");
    }
    let mut zeros = Vec::new();
    if file.record.number == 0 {
        zeros.push("l2_block_number");
    }
    if file.fallback_height == 0 {
        zeros.push("fallback_hotshot_height");
    }
    format!("refuses this file: {} is zero", zeros.join(" and "))
}

fn as_text(path: &Path, file: &StateFile) -> String {
    fn known<T: ToString>(value: Option<&T>) -> String {
        value.map_or_else(|| "unknown".into(), ToString::to_string)
    }
    let record = &file.record;
    let source = json!(record.source);
    let rows: [(&str, String); 9] = [
        ("file", path.display().to_string()),
        ("head", record.number.to_string()),
        ("hash", known(record.hash.as_ref())),
        ("L1 origin", known(record.l1_origin.as_ref())),
        ("confirmed by", source.as_str().unwrap_or_default().to_owned()),
        ("restart height", known(record.restart_height.as_ref())),
        ("chain", known(record.identity.as_ref())),
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
        "fallback_hotshot_height": file.fallback_height,
        "chain_id": record.identity.map(|identity| identity.chain_id),
        "genesis_hash": record.identity.map(|identity| identity.genesis_hash),
        "namespace": record.identity.map(|identity| identity.namespace),
        "updated_at": record.updated_at.to_string(),
        "go_proxy_can_read": file.go_proxy_can_read(),
    })
}

fn reset_head(reset: &Reset, out: &mut impl Write) -> Result<(), Failure> {
    let path: PathBuf = config::store_path(&reset.flags.0.gather())?;
    // The lock first: with a sidecar running there is nothing to ask.
    let mut store = FileStore::open_for_reset(&path)?;
    let from = match store.record() {
        Some(record) if record.number < reset.to => {
            let error = StoreError::Raise { stored: record.number, given: reset.to };
            return Err(Failure::usage(error));
        }
        Some(record) => format!("from {}", record.number),
        None => "(nothing that can be read is stored)".to_owned(),
    };
    if !reset.yes {
        confirm(&format!("Set the stored head in {} {from} to {}?", path.display(), reset.to))?;
    }
    store.reset(reset.to, reset.restart_height)?;
    write!(
        out,
        "The stored head is {}.\nThe filter still holds the higher one and takes the maximum: now change cache_key in the \
         filter's configuration, or restart Envoy. Then start the sidecar.\n",
        reset.to
    )?;
    Ok(())
}

fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "store reset takes back a promise and asks first: run it on a terminal, or give --yes",
        ));
    }
    write!(io::stderr(), "{question} Clients were promised that it never falls. Type yes: ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::failed("nothing was changed")) }
}
