//! The verifier against a world in memory: chains that fork, an L1 that reorgs, a HotShot that
//! anybody may post to, and counters of every call.

mod anchoring;
mod audit;
mod batchers;
mod budget;
mod choosing;
mod cluster;
mod counter;
mod feeding;
mod finality;
mod headers;
mod light_client;
mod log;
mod model;
mod nitro;
mod proven_model;
mod proving;
mod restarting;
mod schedules;
mod skipping;
mod standing;
mod unclean;
mod world;

use finality_core::head::{Source, Status};

use super::{Round, Stall};
