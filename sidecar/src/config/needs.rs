//! What each kind of rollup needs, and has no use for.

use super::{RollupKind, Setting, Values, parse, reader::Reader, settings::ReadValue as _};

/// What only one kind has a use for, and whether it is needed.
const OF_OP: [(&str, bool); 2] =
    [("node_consensus_rpc", true), ("batch_authenticator_address", false)];
const OF_NITRO: [(&str, bool); 5] = [
    ("bridge_address", true),
    ("sequencer_inbox_address", true),
    ("parent_rpc", false),
    ("genesis_block", false),
    ("nitro_require", false),
];

/// Refuses what the rollup's kind has no use for, and what is missing for it.
pub(super) fn check(reader: &mut Reader<'_>, values: &Values) {
    let kind = values.get("rollup").map_or(Ok(RollupKind::Op), |value| parse::rollup(&value.text));
    let (own, others, other) = match kind {
        Ok(RollupKind::Op) => (&OF_OP[..], &OF_NITRO[..], "nitro"),
        Ok(RollupKind::Nitro) => (&OF_NITRO[..], &OF_OP[..], "op"),
        Err(_) => return,
    };
    for (name, _) in own.iter().filter(|(_, is_needed)| *is_needed) {
        _ = reader.value(name, |text| Ok(text.to_owned()));
    }
    if matches!(kind, Ok(RollupKind::Nitro)) {
        _ = reader.value("batcher_addresses", |text| Ok(text.to_owned()));
    }
    for (name, _) in others {
        let default = Setting::named(name).and_then(|setting| setting.default);
        if values.get(name).is_some_and(|value| Some(value.text.as_str()) != default) {
            reader.refuse(name, &format!("is only of use with rollup = {other}"));
        }
    }
}
