//! Anvil, from the npm package of its native program.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{Tool, Version};
use crate::process;

pub(crate) const ANVIL: Tool = Tool {
    name: "anvil",
    variable: "ANVIL",
    oldest: Version(1, 7, 1),
    fetched: Version(1, 7, 1),
    fetch,
};

fn fetch(version: Version, folder: &Path) -> Result<PathBuf> {
    let package = package(env::consts::OS, env::consts::ARCH)?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--ignore-scripts",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ])
    .arg("--prefix")
    .arg(folder)
    // The user's cache may not be writable.
    .arg("--cache")
    .arg(folder.join("npm-cache"))
    .arg(format!("{package}@{version}"));
    process::output(&mut npm).context("npm (Node)")?;
    Ok(folder.join("node_modules").join(package).join("bin/anvil"))
}

/// The native package: `@foundry-rs/anvil` is a script that starts it and does not forward signals.
fn package(system: &str, processor: &str) -> Result<&'static str> {
    Ok(match (system, processor) {
        ("linux", "x86_64") => "@foundry-rs/anvil-linux-amd64",
        ("linux", "aarch64") => "@foundry-rs/anvil-linux-arm64",
        ("macos", "x86_64") => "@foundry-rs/anvil-darwin-amd64",
        ("macos", "aarch64") => "@foundry-rs/anvil-darwin-arm64",
        _ => bail!("npm has no Anvil for {system} on {processor}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_depends_on_the_host() {
        assert_eq!(package("linux", "x86_64").unwrap(), "@foundry-rs/anvil-linux-amd64");
        assert_eq!(package("macos", "aarch64").unwrap(), "@foundry-rs/anvil-darwin-arm64");
        assert!(package("linux", "riscv64").is_err());
    }
}
