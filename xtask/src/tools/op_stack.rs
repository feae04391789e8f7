//! op-geth, op-node and op-batcher for the devnet, built from the Go modules in `e2e/go`, and the
//! predeploys of its genesis. No registry has them as programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::{Version, cache::Cache, go};
use crate::{process, workspace::Workspace};

/// The oldest Go that builds the modules.
const OLDEST_GO: Version = Version(1, 26, 0);

/// A program: its file name, its module in `e2e/go`, its package.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("op-node", "op-node", "github.com/ethereum-optimism/optimism/op-node/cmd"),
    ("op-batcher", "op-node", "github.com/ethereum-optimism/optimism/op-batcher/cmd"),
    ("op-geth", "op-geth", "github.com/ethereum/go-ethereum/cmd/geth"),
];

/// All that decides what is built.
const LOCKS: [&str; 4] = [
    include_str!("../../../e2e/go/op-node/go.mod"),
    include_str!("../../../e2e/go/op-node/go.sum"),
    include_str!("../../../e2e/go/op-geth/go.mod"),
    include_str!("../../../e2e/go/op-geth/go.sum"),
];

/// The module with the predeploys as of Jovian, the file in it, and the file's SHA-256.
const PREDEPLOYS_MODULE: (&str, &str) = ("github.com/ethereum-optimism/optimism", "v1.19.6");
const PREDEPLOYS: &str = "op-core/nuts/state/jovian_state.json";
const PREDEPLOYS_SHA256: &str = "32c27eb93054837bcdcee91498d1befc542692a3db9427a90477444870b31a16";

/// What the devnet runs on where its rollup is not Anvil.
#[derive(Debug, Clone)]
pub(crate) struct OpStack {
    folder: PathBuf,
    /// The execution client.
    pub(crate) op_geth: PathBuf,
    /// The consensus client.
    pub(crate) op_node: PathBuf,
    /// Posts batches to L1.
    pub(crate) op_batcher: PathBuf,
    /// The genesis state, as JSON.
    pub(crate) predeploys: PathBuf,
}

impl OpStack {
    /// The programs; built if the cache has none.
    ///
    /// # Errors
    /// There is no Go that is new enough, or the build fails.
    pub(crate) fn find(workspace: &Workspace, cache: &Cache) -> Result<Self> {
        let folder = format!("op-stack-{}-{}-{}", locks(), env::consts::OS, env::consts::ARCH);
        let kept = cache.keep(&folder, "op-stack", |empty| build(workspace, empty))?;
        let path = |name| kept.join(name);
        Ok(Self {
            op_geth: path("op-geth"),
            op_node: path("op-node"),
            op_batcher: path("op-batcher"),
            predeploys: path("predeploys.json"),
            folder: kept,
        })
    }

    /// Where they are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The versions that are built, as the modules pin them.
    pub(crate) fn versions() -> String {
        let [op_node, _, op_geth, _] = LOCKS;
        format!(
            "op-geth {}, op-node and op-batcher {}",
            pinned(op_geth, "github.com/ethereum-optimism/op-geth "),
            pinned(op_node, "github.com/ethereum-optimism/optimism "),
        )
    }
}

/// Whether there is a Go that builds them.
///
/// # Errors
/// There is none, or it is too old.
pub(crate) fn find_go() -> Result<()> {
    let found = go_version().context("Go is missing")?;
    ensure!(found >= OLDEST_GO, "Go is {found}, and {OLDEST_GO} or newer is needed");
    Ok(())
}

fn go_version() -> Result<Version> {
    let mut go = go::in_environment(Command::new("go"));
    let answer = process::output(go.args(["env", "GOVERSION"]))?;
    Version::read(&answer).with_context(|| format!("`go env GOVERSION` says {answer:?}"))
}

fn build(workspace: &Workspace, empty: &Path) -> Result<PathBuf> {
    find_go()?;
    let folder = empty.join("op-stack");
    fs::create_dir(&folder)?;
    for (name, module, package) in PROGRAMS {
        process::step(format_args!("building {name} (minutes, once)"));
        let mut go = go::in_environment(Command::new("nice"));
        go.current_dir(workspace.root.join("e2e/go").join(module))
            .args(["-n", "19", "go", "build"])
            .args(["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"])
            .arg("-o")
            .arg(folder.join(name))
            .arg(package);
        process::output(&mut go).with_context(|| format!("building {name}"))?;
    }
    fetch_predeploys(&folder.join("predeploys.json"))?;
    Ok(folder)
}

fn fetch_predeploys(to: &Path) -> Result<()> {
    process::step("fetching the predeploys of the genesis");
    let (path, version) = PREDEPLOYS_MODULE;
    let bytes = fs::read(go::module(path, version)?.join(PREDEPLOYS))?;
    let found = hex(&Sha256::digest(&bytes));
    ensure!(found == PREDEPLOYS_SHA256, "{PREDEPLOYS} of {path} {version} has SHA-256 {found}");
    fs::write(to, bytes)?;
    Ok(())
}

/// A name for all that decides what is built.
fn locks() -> String {
    let digest = LOCKS.iter().fold(Sha256::new(), |digest, lock| digest.chain_update(lock));
    let all = digest.chain_update(PREDEPLOYS_SHA256).finalize();
    hex(&all).chars().take(12).collect()
}

/// The last version that a `go.mod` gives after `prefix`.
fn pinned<'a>(module: &'a str, prefix: &str) -> &'a str {
    let found = module.lines().rev().find_map(|line| Some(line.split_once(prefix)?.1));
    found.unwrap_or("of no pinned version")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_those_of_the_modules() {
        let versions = OpStack::versions();
        assert_eq!(versions, "op-geth v1.101702.3, op-node and op-batcher v1.17.0");
    }
}
