//! What can be wrong with a query service.

/// A fault, in force until it is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Namespace ranges come with the last block missing.
    ShortArray,
    /// Namespace ranges come with one block too many.
    LongArray,
    /// Namespace ranges come as an empty array.
    EmptyArray,
    /// Transactions carry another namespace than the requested one.
    WrongNamespace,
    /// Payloads are no base64.
    GarbageBase64,
    /// Namespace ranges are no JSON.
    NotJson,
    /// Namespace ranges end in the middle.
    CutOff,
    /// Every answer is an error of that HTTP status.
    Status(u16),
    /// Every answer is 429 with `Retry-After` in seconds.
    TooManyRequests(u32),
    /// No request is ever answered.
    Hang,
    /// Every answer is a page with that HTTP status.
    Page(u16),
    /// Every answer is 60 MiB long.
    Huge,
    /// Every answer is nested a million levels deep.
    Nested,
    /// `status/block-height` answers this.
    Height(u64),
    /// The height is right, but the newest blocks, this many, are not there yet.
    PayloadsLate(u64),
}
