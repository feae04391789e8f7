//! The sidecar reads the settings in the manifests.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::files;
use crate::process;

/// Lets the sidecar read the arguments and environment of each of its containers.
///
/// # Errors
/// The sidecar refuses one, or there is none.
pub(super) fn read_settings(found: &Path, sidecar: &Path) -> Result<()> {
    let mut count = 0;
    for path in files(found, ".json")? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("sidecar-") {
            continue;
        }
        let container: Value = serde_json::from_slice(&fs::read(&path)?)?;
        let arguments = container.get("args").and_then(Value::as_array).context("no args")?;
        let arguments: Vec<_> = arguments.iter().filter_map(Value::as_str).collect();
        let ["run", options @ ..] = arguments.as_slice() else {
            bail!("{name}: the first argument is not `run`");
        };
        let environment =
            container.get("environment").and_then(Value::as_object).context("no environment")?;
        let mut command = Command::new(sidecar);
        command.arg("print-config").args(options).env_clear();
        command.envs(environment.iter().filter_map(|(name, text)| Some((name, text.as_str()?))));
        process::output(&mut command).with_context(|| format!("the sidecar refuses {name}"))?;
        count += 1;
    }
    if count == 0 {
        bail!("no manifest has a container of the sidecar");
    }
    println!("{count} environments of the sidecar");
    Ok(())
}
