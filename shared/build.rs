//! Passes the git commit and the target to the crate.

use std::{path::Path, process::Command};

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn main() {
    // Builds without a repository, such as container images, set `FINALITY_COMMIT`.
    println!("cargo:rerun-if-env-changed=FINALITY_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(folder) = git(&["rev-parse", "--absolute-git-dir"]) {
        for file in ["HEAD", "logs/HEAD"] {
            let file = Path::new(&folder).join(file);
            if file.exists() {
                println!("cargo:rerun-if-changed={}", file.display());
            }
        }
    }
    let commit = std::env::var("FINALITY_COMMIT")
        .ok()
        .or_else(|| git(&["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=FINALITY_COMMIT={commit}");
    println!("cargo:rustc-env=FINALITY_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
