//! `cargo xtask docs`: regenerates the tables.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use finality_docs::{PAGE, with_tables};

fn main() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| PAGE)?;
    fs::write(&path, with_tables(&page)?).with_context(|| PAGE)
}
