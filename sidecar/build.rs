//! Embeds what `cargo xtask page` made of `page/`, or a placeholder if it was not run.

use std::{env, fs, io, path::Path};

const MODULE: &str = "finality_page_bg.wasm";
const SCRIPT: &str = "finality_page.js";

fn main() -> io::Result<()> {
    let (built, stand_in) = (Path::new("page/built"), Path::new("page/static/not_built.js"));
    // The folder is always there; a file that is not would make cargo run this each time.
    println!("cargo:rerun-if-changed={}", built.display());
    println!("cargo:rerun-if-changed={}", stand_in.display());
    println!("cargo:rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let out = Path::new(&out);
    let (module, script) = (built.join(MODULE), built.join(SCRIPT));
    if module.is_file() && script.is_file() {
        fs::copy(module, out.join(MODULE))?;
        fs::copy(script, out.join(SCRIPT))?;
    } else {
        fs::write(out.join(MODULE), "")?;
        fs::copy(stand_in, out.join(SCRIPT))?;
    }
    Ok(())
}
