//! The scenarios on a real Envoy, and the demo: both on the same devnet, the same builds and the
//! same tools.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    filter, page, process,
    tools::{anvil::ANVIL, cache::Cache, chromium, envoy::ENVOY},
    workspace::{self, Artifact, Workspace},
};

/// What the devnet is made of, handed to it by environment variables.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The sidecar's program.
    pub(crate) sidecar: PathBuf,
    /// The module.
    pub(crate) filter: PathBuf,
    /// The program.
    pub(crate) envoy: PathBuf,
    anvil: PathBuf,
    envoy_yaml: PathBuf,
    devnet: PathBuf,
    /// The test program that holds the scenarios.
    scenarios: PathBuf,
    /// Looks at the status page; only some scenarios need it.
    chromium: Option<PathBuf>,
}

/// What the names of the scenarios that need Chromium begin with.
const PAGE: &str = "page::";

impl Parts {
    /// Fetches and builds all parts.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub(crate) fn prepare(
        workspace: &Workspace,
        cache: &Cache,
        force_fallback: bool,
    ) -> Result<Self> {
        let envoy = ENVOY.find(cache)?.path;
        let anvil = ANVIL.find(cache)?.path;
        let filter = filter::build(workspace, force_fallback)?;
        page::build(workspace, force_fallback)?;
        let built = build(workspace)?;
        Ok(Self {
            sidecar: workspace::executable(&built, "finality-sidecar")?,
            filter,
            envoy,
            anvil,
            envoy_yaml: workspace.root.join("envoy/envoy.yaml"),
            devnet: workspace::executable(&built, "finality-devnet")?,
            scenarios: workspace::executable(&built, "scenarios")?,
            chromium: None,
        })
    }

    /// Adds Chromium, without which the scenarios of the page are left out.
    ///
    /// # Errors
    /// There is none, and none can be installed.
    pub(crate) fn find_chromium(&mut self) -> Result<()> {
        self.chromium = Some(chromium::find()?);
        Ok(())
    }

    /// Tells a program where the parts are.
    pub(crate) fn tell(&self, command: &mut Command) {
        command
            .env("FINALITY_E2E_SIDECAR", &self.sidecar)
            .env("FINALITY_E2E_FILTER", &self.filter)
            .env("FINALITY_E2E_ENVOY", &self.envoy)
            .env("FINALITY_E2E_ANVIL", &self.anvil)
            .env("FINALITY_E2E_ENVOY_YAML", &self.envoy_yaml);
    }

    /// The test program, ready to run in the folder that cargo would run it in.
    pub(crate) fn scenarios(&self, workspace: &Workspace) -> Command {
        let mut command = test_program(workspace, &self.scenarios);
        self.tell(&mut command);
        match &self.chromium {
            Some(chromium) => command.env("FINALITY_E2E_CHROMIUM", chromium),
            None => command.args(["--skip", PAGE]),
        };
        // Processes of a scenario mostly wait, but each runs some ten of them.
        let cores = thread::available_parallelism().map_or(2, usize::from);
        if env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", cores.clamp(2, 8).to_string());
        }
        command
    }
}

/// Demo and scenarios are built by the same call, so that one leaves nothing to build to the other.
/// The whole workspace is selected: cargo chooses features of dependencies by what is selected, and
/// another choice would build them twice.
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
    command
}

/// Runs the scenarios whose names contain one of `wanted`; all if it is empty.
///
/// # Errors
/// A part cannot be had, or no scenario has such a name. A failed scenario is not an error here:
/// the test program takes our place, and its exit code is the answer.
pub(crate) fn run(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    wanted: &[String],
) -> Result<()> {
    let mut parts = Parts::prepare(workspace, cache, force_fallback)?;
    let known = names(workspace, &parts.scenarios)?;
    if let Some(name) = unknown(wanted, &known) {
        bail!("no scenario has `{name}` in its name; there are: {}", known.join(", "));
    }
    if needs_chromium(wanted, &known) {
        parts.find_chromium()?;
    }
    process::step("scenarios on a real Envoy");
    process::become_program(parts.scenarios(workspace).args(wanted))
}

/// Takes the pictures of the status page that the README shows: `docs/images/`.
///
/// # Errors
/// A part cannot be had, the scenario fails, or the pictures cannot be written.
pub(crate) fn pictures(workspace: &Workspace, cache: &Cache, force_fallback: bool) -> Result<()> {
    let mut parts = Parts::prepare(workspace, cache, force_fallback)?;
    parts.find_chromium()?;
    process::step("taking pictures of the status page");
    let folder = workspace.target.join("pictures");
    let mut scenario = parts.scenarios(workspace);
    process::run(
        scenario.arg("s12_page_has_its_picture_taken").env("FINALITY_E2E_PICTURES", &folder),
    )?;
    let images = workspace.root.join("docs/images");
    fs::create_dir_all(&images)?;
    for name in ["status-page-light.png", "status-page-dark.png"] {
        fs::copy(folder.join(name), images.join(name)).with_context(|| name.to_owned())?;
        println!("docs/images/{name}");
    }
    println!("others are in {}", folder.display());
    Ok(())
}

/// Prints the names of the scenarios.
///
/// # Errors
/// They cannot be built.
pub(crate) fn list(workspace: &Workspace) -> Result<()> {
    let program = workspace::executable(&build(workspace)?, "scenarios")?;
    for name in names(workspace, &program)? {
        println!("{name}");
    }
    Ok(())
}

/// Runs the demo.
///
/// # Errors
/// A part cannot be had; else the demo takes our place.
pub(crate) fn demo(
    workspace: &Workspace,
    cache: &Cache,
    force_fallback: bool,
    check: bool,
) -> Result<()> {
    let parts = Parts::prepare(workspace, cache, force_fallback)?;
    process::step("starting the devnet");
    let mut demo = Command::new(&parts.devnet);
    workspace::forget_outer_cargo(&mut demo);
    parts.tell(&mut demo);
    demo.arg("demo");
    if check {
        demo.arg("--check");
    }
    process::become_program(&mut demo)
}

fn names(workspace: &Workspace, program: &Path) -> Result<Vec<String>> {
    let list =
        process::output(test_program(workspace, program).args(["--list", "--format", "terse"]))
            .context("listing the scenarios")?;
    Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// A name that would silently select nothing.
fn unknown<'a>(wanted: &'a [String], known: &[String]) -> Option<&'a String> {
    wanted.iter().find(|name| !known.iter().any(|known| known.contains(name.as_str())))
}

/// Whether one of the wanted scenarios is of the page; all are wanted if none is named.
fn needs_chromium(wanted: &[String], known: &[String]) -> bool {
    known.iter().filter(|known| known.starts_with(PAGE)).any(|known| {
        wanted.is_empty() || wanted.iter().any(|wanted| known.contains(wanted.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_does_not_exist_is_noticed() {
        let known = ["s01_tag_advances_exact", "s02_l1_reorg"].map(str::to_owned);
        let wanted = ["s01", "reorg"].map(str::to_owned);
        assert_eq!(unknown(&wanted, &known), None);
        let wanted = ["s01", "s99"].map(str::to_owned);
        assert_eq!(unknown(&wanted, &known), Some(&wanted[1]));
        assert_eq!(unknown(&[], &known), None);
    }

    #[test]
    fn chromium_is_set_up_only_where_the_page_is_wanted() {
        let known = ["advance::s01_tag", "page::s12_page_box"].map(str::to_owned);
        assert!(needs_chromium(&[], &known));
        assert!(needs_chromium(&["box".to_owned()], &known));
        assert!(!needs_chromium(&["s01".to_owned()], &known));
    }
}
