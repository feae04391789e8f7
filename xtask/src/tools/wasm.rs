//! The compiler for WebAssembly: rustup's if it has or may add the target, otherwise Debian's.

use std::{
    env,
    fmt::{self, Display},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    Version,
    apt::{self, Apt},
};
use crate::{process, workspace::Workspace};

/// The target of the module.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's cargo, by full path since rustup's comes first in `PATH`.
pub(crate) const DEBIAN_CARGO: &str = "/usr/bin/cargo";
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// A recent compiler, its cargo, and the source of the standard library, which is built for the
/// target.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// Debian's linker, needed if rustup has none.
const DEBIAN_LINKER: &str = "lld";

/// A compiler that is set up.
#[derive(Debug)]
pub(crate) enum Compiler {
    /// The compiler of all other code.
    Rustup,
    /// From Debian packages.
    Debian { linker: PathBuf, sysroot: PathBuf },
}

impl Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup => write!(f, "{TARGET} of the Rust toolchain"),
            Self::Debian { linker, .. } => {
                write!(
                    f,
                    "{DEBIAN_RUSTC}, standard library built from source, linker {}",
                    linker.display()
                )
            }
        }
    }
}

/// Input of the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    /// The user asked for the Debian packages.
    forced: bool,
    target_installed: bool,
    rustup_may_install: bool,
    /// All Debian packages and a linker are installed.
    debian_ready: bool,
    apt: Apt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Installed,
    AddTarget,
    DebianReady,
    InstallDebian { sudo: bool },
    Nothing,
}

fn choose(facts: Facts) -> Choice {
    match facts {
        Facts { forced: false, target_installed: true, .. } => Choice::Installed,
        Facts { forced: false, rustup_may_install: true, .. } => Choice::AddTarget,
        Facts { debian_ready: true, .. } => Choice::DebianReady,
        Facts { apt: Apt::Root, .. } => Choice::InstallDebian { sudo: false },
        Facts { apt: Apt::Sudo, .. } => Choice::InstallDebian { sudo: true },
        Facts { apt: Apt::No, .. } => Choice::Nothing,
    }
}

/// Finds or installs a compiler for WebAssembly.
///
/// # Errors
/// There is none and none can be installed; the error says what to install.
pub(crate) fn set_up(workspace: &Workspace, forced: bool) -> Result<Compiler> {
    let mut rustup_may_install = rustup_may_install();
    loop {
        let debian = debian(workspace);
        let facts = Facts {
            forced,
            target_installed: is_installed(workspace, TARGET),
            rustup_may_install,
            debian_ready: debian.is_ok(),
            apt: apt::access(),
        };
        match choose(facts) {
            Choice::Installed => return Ok(Compiler::Rustup),
            Choice::DebianReady => return debian,
            Choice::AddTarget => {
                add(workspace, TARGET);
                // Try once; the next round sees whether the target is there.
                rustup_may_install = false;
            }
            Choice::InstallDebian { sudo } => {
                install_debian(sudo, workspace).with_context(advice)?;
                return self::debian(workspace).with_context(advice);
            }
            Choice::Nothing => return debian.with_context(advice),
        }
    }
}

fn advice() -> String {
    let packages = DEBIAN_PACKAGES.join(" ");
    format!(
        "no compiler for {TARGET}: install it by `rustup target add {TARGET}`, \
         or as root by `apt-get install {packages} {DEBIAN_LINKER}` (Debian 12 or newer)"
    )
}

/// Whether the Rust toolchain has a target's standard library.
pub(crate) fn is_installed(workspace: &Workspace, target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(&workspace.root);
    process::output(&mut rustc).is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// Asks rustup to add a target and returns whether it did.
pub(crate) fn add(workspace: &Workspace, target: &str) -> bool {
    process::step(format_args!("rustup target add {target}"));
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]).current_dir(&workspace.root);
    let added = process::output(&mut rustup);
    if let Err(error) = &added {
        process::step(format_args!("rustup cannot add it: {error:#}"));
    }
    added.is_ok()
}

fn rustup_may_install() -> bool {
    process::find_in_path("rustup").is_some()
        && env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0")
}

/// The Debian compiler, or an error that says what is missing.
fn debian(workspace: &Workspace) -> Result<Compiler> {
    for program in [DEBIAN_CARGO, DEBIAN_RUSTC] {
        if !process::is_program(Path::new(program)) {
            bail!("there is no {program}");
        }
    }
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let version = Version::of(Path::new(DEBIAN_RUSTC))?;
    if Version::read(&format!("{oldest}.0")).is_some_and(|oldest| version < oldest) {
        bail!("{DEBIAN_RUSTC} is {version}; {oldest} is required");
    }
    let sysroot = sysroot(Command::new(DEBIAN_RUSTC))?;
    let source = sysroot.join("lib/rustlib/src/rust/library/Cargo.lock");
    if !source.is_file() {
        bail!("there is no {}", source.display());
    }
    let linker = linker(workspace).context("there is no WebAssembly linker")?;
    Ok(Compiler::Debian { linker, sysroot })
}

fn sysroot(mut rustc: Command) -> Result<PathBuf> {
    Ok(process::output(rustc.args(["--print", "sysroot"]))?.trim().into())
}

/// The linker of rustup's compiler, which is as new as the compiler, or Debian's.
fn linker(workspace: &Workspace) -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(&workspace.root);
    let host = format!("lib/rustlib/{}-unknown-linux-gnu/bin/rust-lld", env::consts::ARCH);
    let of_rustup = sysroot(rustc).map(|sysroot| sysroot.join(host)).ok();
    of_rustup.filter(|path| process::is_program(path)).or_else(|| process::find_in_path("wasm-ld"))
}

fn install_debian(sudo: bool, workspace: &Workspace) -> Result<()> {
    let mut packages = DEBIAN_PACKAGES.to_vec();
    if linker(workspace).is_none() {
        packages.push(DEBIAN_LINKER);
    }
    apt::install(sudo, &packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Facts = Facts {
        forced: false,
        target_installed: false,
        rustup_may_install: false,
        debian_ready: false,
        apt: Apt::No,
    };

    #[test]
    fn an_installed_target_is_always_used() {
        for (rustup_may_install, debian_ready) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let facts = Facts { target_installed: true, rustup_may_install, debian_ready, ..BARE };
            assert_eq!(choose(facts), Choice::Installed);
        }
    }

    #[test]
    fn rustup_is_preferred_to_debian_if_it_may_install() {
        let facts = Facts { rustup_may_install: true, debian_ready: true, apt: Apt::Root, ..BARE };
        assert_eq!(choose(facts), Choice::AddTarget);
        assert_eq!(choose(Facts { rustup_may_install: false, ..facts }), Choice::DebianReady);
    }

    #[test]
    fn missing_packages_are_installed_if_permitted() {
        assert_eq!(choose(Facts { apt: Apt::Root, ..BARE }), Choice::InstallDebian { sudo: false });
        assert_eq!(choose(Facts { apt: Apt::Sudo, ..BARE }), Choice::InstallDebian { sudo: true });
        assert_eq!(choose(BARE), Choice::Nothing);
    }

    #[test]
    fn force_permits_only_debian() {
        let all = Facts { forced: true, target_installed: true, rustup_may_install: true, ..BARE };
        assert_eq!(choose(all), Choice::Nothing);
        assert_eq!(choose(Facts { debian_ready: true, ..all }), Choice::DebianReady);
        assert_eq!(choose(Facts { apt: Apt::Root, ..all }), Choice::InstallDebian { sudo: false });
    }

    #[test]
    fn the_advice_is_one_line_with_both_ways() {
        let advice = advice();
        assert!(!advice.contains('\n') && !advice.contains("  "));
        assert!(advice.contains("rustup target add wasm32-unknown-unknown"));
        assert!(advice.contains("apt-get install rustc-web cargo-web rust-web-src lld"));
    }
}
