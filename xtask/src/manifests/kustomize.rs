//! The kustomize component, rendered in its example.
//!
//! No package registry has kustomize. So what is kept bears a digest of all that it was rendered
//! from: where there is no kustomize, that alone is compared, and stale manifests are noticed all
//! the same.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};

use super::{Paths, RENDERED, files};
use crate::process;

/// What stands before the digest in the first line.
const DIGEST: &str = "# Rendered by kustomize from what has the sha256 ";

/// The rendered example; none if there is no kustomize, and what is kept is not stale.
///
/// # Errors
/// It cannot be rendered; or there is no kustomize and what is kept is stale.
pub(super) fn render(paths: &Paths) -> Result<Option<String>> {
    let digest = digest(&[&paths.component, &paths.example])?;
    if let Some(mut kustomize) = kustomize() {
        let text = process::output(kustomize.arg(&paths.example))?;
        return Ok(Some(format!("{DIGEST}{digest}\n{text}")));
    }
    process::step("the component is not rendered: there is no kustomize; its digest is compared");
    let path = paths.example.join(RENDERED);
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if kept.lines().next() != Some(&format!("{DIGEST}{digest}")) {
        bail!(
            "{} is stale: run `cargo xtask manifests --write` where kubectl is installed",
            path.display()
        );
    }
    Ok(None)
}

/// `kustomize build`, of version 5 as a program of its own or in kubectl.
fn kustomize() -> Option<Command> {
    let is_5 = |arguments: [&str; 3]| {
        let mut command = Command::new(arguments.first().copied().unwrap_or_default());
        command.args(arguments.iter().skip(1).filter(|argument| !argument.is_empty()));
        process::output(&mut command).is_ok_and(|text| text.contains("v5."))
    };
    let command = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument);
        command
    };
    if is_5(["kustomize", "version", ""]) {
        Some(command("kustomize", "build"))
    } else if is_5(["kubectl", "version", "--client"]) {
        Some(command("kubectl", "kustomize"))
    } else {
        None
    }
}

/// Of the names and contents of all files but the rendered one.
fn digest(folders: &[&Path]) -> Result<String> {
    let mut sha256 = Sha256::new();
    for folder in folders {
        for path in files(folder, "")? {
            if path.ends_with(RENDERED) {
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            let content = fs::read(&path)?;
            for part in [name.as_bytes(), &content] {
                sha256.update((part.len() as u64).to_be_bytes());
                sha256.update(part);
            }
        }
    }
    Ok(sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_follows_names_and_contents_but_not_the_rendered_file() {
        let folder = tempfile::tempdir().unwrap();
        let of = || digest(&[folder.path()]).unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        let first = of();
        fs::write(folder.path().join(RENDERED), "anything").unwrap();
        assert_eq!(of(), first);
        fs::write(folder.path().join("a"), "y").unwrap();
        let second = of();
        assert_ne!(second, first);
        fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_ne!(of(), second);
    }
}
