//! The rollup's kind, and what must be proven of it.

use strum::IntoStaticStr;

/// The rollup's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RollupKind {
    /// The OP Stack.
    Op,
    /// Arbitrum Nitro.
    Nitro,
}

/// What must be proven of a block of Nitro before it may become the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum NitroRequire {
    /// Its hash, which the sequencer has signed.
    Hash,
    /// Its inputs.
    Inputs,
}
