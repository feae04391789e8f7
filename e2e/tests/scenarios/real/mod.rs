//! Scenarios that only op-geth and op-node can play.

mod clients;
mod el_sync;
mod forks;
mod reorgs;
mod restarts;
mod wrong_urls;
