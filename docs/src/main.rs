//! Generates documents from the code: without arguments the tables of `docs/configuration.md`, with
//! `manual FOLDER` the manual pages and the shell completions of the sidecar.

use std::{env, fs, path::Path};

use anyhow::{Context, Result, bail};
use clap_complete::Shell;
use finality_docs::{PAGE, with_tables};

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => tables(),
        ["manual", share] => manual(Path::new(share)),
        _ => bail!("usage: finality-docs [manual FOLDER]"),
    }
}

fn tables() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| PAGE)?;
    fs::write(&path, with_tables(&page)?).with_context(|| PAGE)
}

/// Writes into `share` what belongs under `/usr/share`.
fn manual(share: &Path) -> Result<()> {
    let mut command = finality_sidecar::cli::command();
    let folder = |path: &str| {
        let folder = share.join(path);
        fs::create_dir_all(&folder).map(|()| folder)
    };
    clap_mangen::generate_to(command.clone(), folder("man/man1")?)?;
    for (shell, path) in [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/vendor-completions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ] {
        clap_complete::generate_to(shell, &mut command, "finality-sidecar", folder(path)?)?;
    }
    // The loader of bash-completion looks for the name of the program.
    let bash = folder("bash-completion/completions")?;
    Ok(fs::rename(bash.join("finality-sidecar.bash"), bash.join("finality-sidecar"))?)
}
