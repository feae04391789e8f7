//! What is proven of the answers of query services.

/// How much of what query services answer is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HotshotProofs {
    /// Nothing: a majority is believed.
    #[default]
    Off,
    /// The namespace in each block, under a header that a majority is believed about.
    Payload,
}
