//! Recorded answers: one JSON object with what services and L1 say.

use std::{fs, path::Path};

use alloy_primitives::U256;
use espresso_proofs::{Answer, BlockPath, Checkpoint, Evidence, Header, read_committee_size};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Failure, Material, Stop};

/// Each member is the answer of a route, and may be missing where it is not needed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// `availability/header/{height}`
    header: Box<RawValue>,
    /// An element of `availability/block/{from}/{until}/namespace/{namespace}`.
    answer: Option<Box<RawValue>>,
    /// `availability/vid/common/{height}`
    vid_common: Option<Box<RawValue>>,
    /// The same of blocks nearby, or of another namespace, which bear out a committee.
    #[serde(default)]
    witnesses: Vec<Witness>,
    /// `block-state/{headers}/{height}`
    block_state: Option<Box<RawValue>>,
    /// The light client's state.
    light_client: Option<State>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Witness {
    header: Box<RawValue>,
    namespace: u32,
    answer: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    height: u64,
    /// A decimal number, or `0x` and digits.
    root: String,
}

pub(super) fn read(file: &Path, namespace: u32, with_root: bool) -> Result<Material, Stop> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Stop::Failure(Failure::usage(format_args!("{}: {error}", file.display())))
    };
    let text = fs::read_to_string(file).map_err(|error| unreadable(&error))?;
    let recorded: Recorded = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    let read_header = |text: &RawValue| {
        Header::read(text.get().as_bytes()).map_err(|error| Stop::Step("header", error.to_string()))
    };
    let read_answer = |text: &RawValue| {
        Answer::read(text.get().as_bytes()).map_err(|error| Stop::Step("namespace", error))
    };
    let header = read_header(&recorded.header)?;
    let mut answer = None;
    let mut witnesses = Vec::new();
    if header.namespaces().contains(namespace) {
        let common = recorded.vid_common.as_ref();
        let common =
            common.ok_or_else(|| Stop::Step("committee", "vid_common is missing".into()))?;
        let size = read_committee_size(common.get().as_bytes())
            .map_err(|error| Stop::Step("committee", error))?;
        for witness in &recorded.witnesses {
            let header = read_header(&witness.header)?;
            let evidence =
                read_answer(&witness.answer)?.check(&header, witness.namespace, size, &[]);
            if let Ok(Evidence::Opened(size)) = evidence {
                witnesses.push(size);
            }
        }
        let given = match &recorded.answer {
            Some(text) => read_answer(text)?,
            None => Answer::absent(),
        };
        answer = Some((given, size));
    }
    let mut root = None;
    if let (true, Some(path), Some(State { height, root: text })) =
        (with_root, &recorded.block_state, &recorded.light_client)
    {
        let path = BlockPath::read(path.get().as_bytes())
            .map_err(|error| Stop::Step("path", error.to_string()))?;
        let value: U256 = text.parse().map_err(|error| unreadable(&error))?;
        root = Some((path, Checkpoint { height: *height, root: value }));
    }
    Ok(Material { header, answer, witnesses, root })
}
