//! A whole world for the sidecar, on one port: a chain made from the test vectors, its full node,
//! L1, and a HotShot with what is posted to it. The benchmark of the verifier uses it, too.

pub(crate) mod chain;
pub(crate) mod services;

pub(crate) use self::{
    chain::{Chain, Signer},
    services::Fakes,
};
