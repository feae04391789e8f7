//! A Nitro chain.

pub mod block;
pub mod content;
pub mod feed;
pub mod ledger;
pub mod message;
mod parse;
pub mod payloads;
pub mod transaction;
pub mod twists;

#[cfg(test)]
mod tests;
