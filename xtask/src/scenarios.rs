//! Scenarios on a real Envoy, and the demo: both use the same devnet, builds and tools.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    filter, page, process,
    tools::{
        anvil::ANVIL, cache::Cache, chromium, envoy::ENVOY, etcd::ETCD, op_stack::OpStack,
        promtool::PROMTOOL,
    },
    workspace::{self, Artifact, Workspace},
};

/// The programs of a devnet, passed to it in environment variables.
#[derive(Debug)]
pub(crate) struct Artifacts {
    pub(crate) sidecar: PathBuf,
    /// The module.
    pub(crate) filter: PathBuf,
    pub(crate) envoy: PathBuf,
    anvil: PathBuf,
    etcd: PathBuf,
    envoy_yaml: PathBuf,
    devnet: PathBuf,
    /// The test program with the scenarios.
    scenarios: PathBuf,
    /// Needed by the scenarios of the status page only.
    chromium: Option<PathBuf>,
    /// Needed by the fault drills only.
    promtool: Option<PathBuf>,
    /// Needed by the scenarios on op-geth and op-node only.
    op_stack: Option<OpStack>,
}

/// Prefix of the scenarios that need Chromium.
const PAGE: &str = "page::";
/// Prefix of the scenarios that need promtool.
const DRILLS: &str = "drills::";
/// The module in the names of the scenarios on op-geth and op-node.
const REAL: &str = "real::";
/// How many of them run at once: their chains run by the clock, so they mostly wait.
const REAL_AT_ONCE: &str = "6";

impl Artifacts {
    /// Fetches and builds everything but Chromium.
    ///
    /// # Errors
    /// A tool cannot be set up, or a build fails.
    pub(crate) fn prepare(
        workspace: &Workspace,
        cache: &Cache,
        force_fallback: bool,
    ) -> Result<Self> {
        let envoy = ENVOY.find(cache)?.path;
        let anvil = ANVIL.find(cache)?.path;
        let etcd = ETCD.find(cache)?.path;
        let filter = filter::build(workspace, force_fallback)?;
        page::build(workspace, force_fallback)?;
        let built = build(workspace)?;
        Ok(Self {
            sidecar: workspace::executable(&built, "finality-sidecar")?,
            filter,
            envoy,
            anvil,
            etcd,
            envoy_yaml: workspace.root.join("envoy/envoy.yaml"),
            devnet: workspace::executable(&built, "finality-devnet")?,
            scenarios: workspace::executable(&built, "scenarios")?,
            chromium: None,
            promtool: None,
            op_stack: None,
        })
    }

    /// Adds Chromium, without which the scenarios of the page are skipped.
    ///
    /// # Errors
    /// Chromium is neither installed nor installable.
    pub(crate) fn find_chromium(&mut self) -> Result<()> {
        self.chromium = Some(chromium::find()?);
        Ok(())
    }

    /// Adds promtool, without which the fault drills are skipped.
    ///
    /// # Errors
    /// promtool is neither installed nor to be had.
    pub(crate) fn find_promtool(&mut self, cache: &Cache) -> Result<()> {
        self.promtool = Some(PROMTOOL.find(cache)?.path);
        Ok(())
    }

    /// Adds op-geth and op-node, which the scenarios on them need.
    pub(crate) fn use_op_stack(&mut self, op_stack: OpStack) {
        self.op_stack = Some(op_stack);
    }

    /// Passes the paths to a program.
    pub(crate) fn pass_to(&self, command: &mut Command) {
        command
            .env("FINALITY_E2E_SIDECAR", &self.sidecar)
            .env("FINALITY_E2E_FILTER", &self.filter)
            .env("FINALITY_E2E_ENVOY", &self.envoy)
            .env("FINALITY_E2E_ANVIL", &self.anvil)
            .env("FINALITY_E2E_ETCD", &self.etcd)
            .env("FINALITY_E2E_ENVOY_YAML", &self.envoy_yaml);
        if let Some(stack) = &self.op_stack {
            command
                .env("FINALITY_E2E_OP_GETH", &stack.op_geth)
                .env("FINALITY_E2E_OP_NODE", &stack.op_node)
                .env("FINALITY_E2E_OP_BATCHER", &stack.op_batcher)
                .env("FINALITY_E2E_PREDEPLOYS", &stack.predeploys);
        }
    }

    /// The test program with the scenarios on op-geth and op-node: all, or those of these names.
    pub(crate) fn real_scenarios(&self, workspace: &Workspace, names: &[&String]) -> Command {
        let mut command = test_program(workspace, &self.scenarios);
        self.pass_to(&mut command);
        if env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", REAL_AT_ONCE);
        }
        if names.is_empty() {
            command.arg(REAL);
        } else {
            command.arg("--exact").args(names);
        }
        command
    }

    /// The test program with the other scenarios, to be run in the folder where cargo would run it.
    pub(crate) fn scenarios(&self, workspace: &Workspace) -> Command {
        let mut command = test_program(workspace, &self.scenarios);
        self.pass_to(&mut command);
        command.args(["--skip", REAL]);
        match &self.chromium {
            Some(chromium) => command.env("FINALITY_E2E_CHROMIUM", chromium),
            None => command.args(["--skip", PAGE]),
        };
        match &self.promtool {
            Some(promtool) => command.env("FINALITY_E2E_PROMTOOL", promtool),
            None => command.args(["--skip", DRILLS]),
        };
        // A scenario has about ten processes, which wait for one another more than they compute.
        let cores = thread::available_parallelism().map_or(2, usize::from);
        if env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", (2 * cores).clamp(4, 8).to_string());
        }
        command
    }
}

/// Builds demo and scenarios together and selects the whole workspace: cargo unifies the features
/// of dependencies over the selected packages, so another selection would build them again.
fn build(workspace: &Workspace) -> Result<Vec<Artifact>> {
    process::step("building the sidecar and the devnet");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--workspace", "--features", "finality-e2e/scenarios"]).args([
        "--bin",
        "finality-sidecar",
        "--bin",
        "finality-devnet",
        "--test",
        "scenarios",
    ]);
    workspace::build(&mut cargo)
}

fn test_program(workspace: &Workspace, program: &Path) -> Command {
    let mut command = Command::new(program);
    workspace::forget_outer_cargo(&mut command);
    command.current_dir(workspace.root.join("e2e"));
    // Of scenarios that fail.
    command.env("FINALITY_E2E_LOGS", workspace.target.join("e2e-logs"));
    command
}

/// Runs the scenarios whose names contain one of `wanted`, all if it is empty: those on op-geth and
/// op-node with `real`, else the others.
///
/// # Errors
/// An artifact is missing, or no scenario has such a name. Failed scenarios set the exit code: the
/// test program replaces this process.
pub(crate) fn run(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    real: bool,
    wanted: &[String],
) -> Result<()> {
    let mut artifacts = Artifacts::prepare(workspace, cache, force_fallback)?;
    let mut known = names(workspace, &artifacts.scenarios)?;
    known.retain(|name| name.contains(REAL) == real);
    if let Some(name) = unknown(wanted, &known) {
        bail!("no scenario name contains `{name}`; scenarios: {}", known.join(", "));
    }
    if real {
        artifacts.use_op_stack(OpStack::find(workspace, cache)?);
        process::step("scenarios on op-geth and op-node");
        let chosen = |name: &&String| wanted.iter().any(|part| name.contains(part.as_str()));
        let chosen: Vec<&String> = known.iter().filter(chosen).collect();
        return process::exec(&mut artifacts.real_scenarios(workspace, &chosen));
    }
    if are_wanted(PAGE, wanted, &known) {
        artifacts.find_chromium()?;
    }
    if are_wanted(DRILLS, wanted, &known) {
        artifacts.find_promtool(cache)?;
    }
    process::step("scenarios on a real Envoy");
    process::exec(artifacts.scenarios(workspace).args(wanted))
}

/// Runs the chaos scenario for as long, with that seed.
///
/// # Errors
/// As [`run`].
pub(crate) fn chaos(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    minutes: u64,
    seed: u64,
) -> Result<()> {
    let artifacts = Artifacts::prepare(workspace, cache, force_fallback)?;
    process::step("chaos");
    let mut scenario = artifacts.scenarios(workspace);
    scenario.env("FINALITY_E2E_MINUTES", minutes.to_string());
    scenario.env("FINALITY_E2E_SEED", seed.to_string());
    process::exec(scenario.args(["s21_chaos", "--nocapture"]))
}

/// Takes the screenshots of the status page in `docs/images`.
///
/// # Errors
/// An artifact is missing, the scenario fails, or the screenshots cannot be written.
pub(crate) fn pictures(workspace: &Workspace, cache: &Cache, force_fallback: bool) -> Result<()> {
    let mut artifacts = Artifacts::prepare(workspace, cache, force_fallback)?;
    artifacts.find_chromium()?;
    process::step("screenshots of the status page");
    let folder = workspace.target.join("pictures");
    let mut scenario = artifacts.scenarios(workspace);
    process::run(
        scenario.arg("s12_page_has_its_picture_taken").env("FINALITY_E2E_PICTURES", &folder),
    )?;
    let images = workspace.root.join("docs/images");
    fs::create_dir_all(&images)?;
    for name in ["status-page-light.png", "status-page-dark.png"] {
        fs::copy(folder.join(name), images.join(name)).with_context(|| name.to_owned())?;
        println!("docs/images/{name}");
    }
    println!("more in {}", folder.display());
    Ok(())
}

/// Prints the names of the scenarios.
///
/// # Errors
/// The build fails.
pub(crate) fn list(workspace: &Workspace) -> Result<()> {
    let program = workspace::executable(&build(workspace)?, "scenarios")?;
    for name in names(workspace, &program)? {
        println!("{name}");
    }
    Ok(())
}

/// Replaces this process by the demo.
///
/// # Errors
/// An artifact is missing.
pub(crate) fn demo(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    check: bool,
    real: bool,
    rollup: &str,
) -> Result<()> {
    let mut artifacts = Artifacts::prepare(workspace, cache, force_fallback)?;
    if real {
        artifacts.use_op_stack(OpStack::find(workspace, cache)?);
    }
    process::step("starting the devnet");
    let mut demo = Command::new(&artifacts.devnet);
    workspace::forget_outer_cargo(&mut demo);
    artifacts.pass_to(&mut demo);
    demo.arg("demo");
    if check {
        demo.arg("--check");
    }
    if real {
        demo.arg("--real");
    } else {
        demo.args(["--rollup", rollup]);
    }
    process::exec(&mut demo)
}

fn names(workspace: &Workspace, program: &Path) -> Result<Vec<String>> {
    let list =
        process::output(test_program(workspace, program).args(["--list", "--format", "terse"]))
            .context("listing the scenarios")?;
    Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// The first name that selects nothing.
fn unknown<'a>(wanted: &'a [String], known: &[String]) -> Option<&'a String> {
    wanted.iter().find(|name| !known.iter().any(|known| known.contains(name.as_str())))
}

/// Whether a scenario of a module is selected; an empty selection means all.
fn are_wanted(module: &str, wanted: &[String], known: &[String]) -> bool {
    known.iter().filter(|known| known.starts_with(module)).any(|known| {
        wanted.is_empty() || wanted.iter().any(|wanted| known.contains(wanted.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_selects_nothing_is_reported() {
        let known = ["s01_tag_advances_exact", "s02_l1_reorg"].map(str::to_owned);
        let wanted = ["s01", "reorg"].map(str::to_owned);
        assert_eq!(unknown(&wanted, &known), None);
        let wanted = ["s01", "s99"].map(str::to_owned);
        assert_eq!(unknown(&wanted, &known), Some(&wanted[1]));
        assert_eq!(unknown(&[], &known), None);
    }

    #[test]
    fn a_tool_is_needed_for_its_module_only() {
        let known = ["advance::s01_tag", "page::s12_page_box"].map(str::to_owned);
        assert!(are_wanted(PAGE, &[], &known));
        assert!(are_wanted(PAGE, &["box".to_owned()], &known));
        assert!(!are_wanted(PAGE, &["s01".to_owned()], &known));
    }
}
