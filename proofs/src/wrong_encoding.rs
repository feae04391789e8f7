//! The proof that a namespace was dispersed wrongly.
//!
//! Whoever disperses a block can commit to shares that no payload has, each with a true path. Any
//! shares that would recover a payload then recover none, or one with another commitment, and for
//! every node the namespace is empty. That is proven, too: a service could hide anything by it.

use std::{collections::BTreeMap, ops::Range};

use alloy_primitives::B256;
use serde::Deserialize;
use thiserror::Error;

use crate::{
    PathError, TaggedBase64, avidm_gf2, bounded::Strings, merkle::Path, scheme::Dispersal,
};

/// As many shares as recover a payload, under the commitment of the namespace.
#[derive(Debug, Deserialize)]
pub(crate) struct WrongEncoding {
    ns_commit: TaggedBase64,
    ns_index: u64,
    ns_mt_proof: String,
    ns_proof: Shares,
}

#[derive(Debug, Deserialize)]
struct Shares {
    shares: Vec<Share>,
}

/// The shards of one node.
#[derive(Debug, Deserialize)]
struct Share {
    /// Their positions among all shards.
    range: Range<u32>,
    payload: Strings,
    mt_proofs: Strings,
}

/// Why it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WrongEncodingError {
    /// The commitment of the namespace is none of this dispersal.
    #[error("the commitment of the namespace is none of this dispersal")]
    NamespaceCommitment,
    /// A range without as many shards and paths.
    #[error("positions {}..{} with {shards} shards and {paths} paths", range.start, range.end)]
    Range {
        /// The positions.
        range: Range<u32>,
        /// The shards given for them.
        shards: usize,
        /// The paths given for them.
        paths: usize,
    },
    /// There is no such position.
    #[error("shard {position} of {count}")]
    Position {
        /// The position.
        position: u32,
        /// The size of the committee.
        count: u32,
    },
    /// A position stands there twice.
    #[error("shard {0} stands there twice")]
    Repeated(u32),
    /// Not as many shards as recover a payload.
    #[error("{given} shards, {expected} recover a payload")]
    Count {
        /// The shards given.
        given: usize,
        /// The threshold.
        expected: u32,
    },
    /// A shard's path is none of the tree over the shards.
    #[error("path of shard {position}: {error}")]
    Path {
        /// The shard.
        position: u32,
        /// What is wrong.
        error: PathError,
    },
    /// A shard is not that of the namespace's commitment.
    #[error("shard {0} is not that of the namespace's commitment")]
    Shard(u32),
    /// The payload is under the commitment, but has another length than the table says.
    #[error("well encoded, with {given} bytes where the table says {expected}")]
    Length {
        /// The length of the payload.
        given: usize,
        /// The length by the table.
        expected: u32,
    },
    /// The namespace is well encoded.
    #[error("the namespace is well encoded")]
    WellEncoded,
}

impl WrongEncoding {
    /// The namespace's number in the table, by the proof.
    pub(crate) const fn index(&self) -> u64 {
        self.ns_index
    }

    /// The commitment of the namespace, by the proof.
    pub(crate) fn commitment(&self) -> Result<B256, WrongEncodingError> {
        let hash = self.ns_commit.hash();
        let hash = hash.filter(|_| self.ns_commit.tag == Dispersal::AvidmGf2.tag());
        hash.ok_or(WrongEncodingError::NamespaceCommitment)
    }

    /// The path from the commitment of the namespace to the block's.
    pub(crate) fn path(&self) -> Result<Path, PathError> {
        Path::parse(&self.ns_mt_proof)
    }

    /// Whether the shares are under the commitment, and recover no payload that has it. `count`
    /// shares were dispersed, `threshold` recover a payload, whose length the table says.
    pub(crate) fn check(
        &self,
        commitment: B256,
        count: u32,
        threshold: u32,
        length: u32,
    ) -> Result<(), WrongEncodingError> {
        let shards = self.shards(count, threshold)?;
        for (position, (shard, path)) in &shards {
            let value = avidm_gf2::TREE.value(shard);
            let root = Path::parse(path).and_then(|path| {
                avidm_gf2::TREE.root_by(&path, value, u64::from(*position), u64::from(count))
            });
            match root {
                Ok(root) if root == commitment => {}
                Ok(_) => return Err(WrongEncodingError::Shard(*position)),
                Err(error) => {
                    return Err(WrongEncodingError::Path { position: *position, error });
                }
            }
        }
        let shards = shards.iter().map(|(position, (shard, _))| (*position, *shard)).collect();
        let Some(payload) = avidm_gf2::recover(&shards, count as usize) else { return Ok(()) };
        // Anew from the payload: what the shards say beyond it is part of the encoding.
        let anew = avidm_gf2::commit(&payload, count as usize, threshold as usize);
        if anew != Some(commitment) {
            return Ok(());
        }
        let given = payload.len();
        Err(if given == length as usize {
            WrongEncodingError::WellEncoded
        } else {
            WrongEncodingError::Length { given, expected: length }
        })
    }

    /// The shards by their positions, each with its path: as many as recover a payload.
    fn shards(
        &self,
        count: u32,
        threshold: u32,
    ) -> Result<BTreeMap<u32, (&[u8], &str)>, WrongEncodingError> {
        let mut shards = BTreeMap::new();
        for Share { range, payload, mt_proofs } in &self.ns_proof.shares {
            let (given, paths) = (payload.len(), mt_proofs.len());
            if range.len() != given || given != paths {
                let range = range.clone();
                return Err(WrongEncodingError::Range { range, shards: given, paths });
            }
            for (position, (shard, path)) in
                range.clone().zip(payload.iter().zip(mt_proofs.texts()))
            {
                if position >= count {
                    return Err(WrongEncodingError::Position { position, count });
                }
                if shards.insert(position, (shard, path)).is_some() {
                    return Err(WrongEncodingError::Repeated(position));
                }
            }
        }
        if shards.len() == threshold as usize {
            return Ok(shards);
        }
        Err(WrongEncodingError::Count { given: shards.len(), expected: threshold })
    }
}
