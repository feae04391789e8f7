//! What others can make the sidecar hold at once, in one sum: each limit, times what is in flight.
//!
//! Whatever a service sends, no more than [`RESIDENT`] is resident. A long answer is read alone,
//! while nothing else of its kind is in flight (`feed`, `confirmation`).

use super::{
    audit::MOST_HEADERS, candidates::BUDGET, confirmation::BLOCKS_IN_FLIGHT,
    read_ahead::MAX_UNDER_WAY,
};
use crate::{
    l1::KEPT_HASHES,
    upstream::{LARGE, LONGEST_BLOCK, LONGEST_NEWS, MEDIUM, SMALL, SPARE},
};

const MIB: usize = 1024 * 1024;

/// The most that may be resident.
const RESIDENT: usize = 128 * MIB;

/// The program itself: code, threads, connections, metrics, the API and its clients.
const PROGRAM: usize = 24 * MIB;

/// Batches above the head, each of which takes the same memory.
const CANDIDATES: usize = BUDGET * 1024;

/// Query services and L1 endpoints that answer one question. Each one more adds its own answers.
const SERVICES: usize = 3;

/// Ranges: the answers, and the payloads in them, at most three quarters as long.
const RANGES: usize = MAX_UNDER_WAY * SERVICES * (MEDIUM + MEDIUM * 3 / 4);

/// Blocks of the node: the answers, and what is read of them.
const NODE_BLOCKS: usize = BLOCKS_IN_FLIGHT * (MEDIUM + MEDIUM * 3 / 2);

/// Two blocks from each L1 endpoint, and short answers.
const L1_BLOCKS: usize = SERVICES * (2 * MEDIUM + 4 * SMALL);

/// Messages of the streams of services, L1 and two endpoints of the node, and what is read of them.
const STREAMS: usize = (2 * SERVICES + 2) * 2 * LONGEST_NEWS;

/// A HotShot block that is read alone: the answer, and its payloads, once by themselves and once in
/// the proof. Where base64 is written with escapes, a text is held twice besides.
const HOTSHOT_BLOCK: usize = LARGE + LARGE * 3 / 8 + LARGE;

/// A block of the node that is read alone: the answer, and its transactions, half as long as in
/// hexadecimal digits.
const NODE_BLOCK: usize = LONGEST_BLOCK + LONGEST_BLOCK / 2 + 6 * MIB;

/// Commitments of headers that were not compared with the light client.
const HEADERS: usize = MOST_HEADERS * 32;

/// Hashes of L1, and the tree that they are in.
const HASHES: usize = KEPT_HASHES * 96;

const ALWAYS: usize = HEADERS + HASHES + PROGRAM + CANDIDATES + L1_BLOCKS + STREAMS;

const _: () = {
    assert!(ALWAYS + SPARE + RANGES + NODE_BLOCKS <= RESIDENT);
    assert!(ALWAYS + HOTSHOT_BLOCK <= RESIDENT);
    assert!(ALWAYS + SPARE + NODE_BLOCKS + NODE_BLOCK <= RESIDENT);
};
