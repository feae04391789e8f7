//! L1 behind several endpoints.

mod contracts;
mod voting;
