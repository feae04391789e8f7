//! What is proven of the answers of query services.

use strum::IntoStaticStr;

/// How much of what query services answer is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HotshotProofs {
    /// Nothing: a majority is believed.
    Off,
    /// The namespace in each block, under a header that a majority is believed about. What moved
    /// the head is compared with the light client afterwards.
    #[default]
    Payload,
    /// The same, and only what is under the light client's root moves the head.
    Root,
}
