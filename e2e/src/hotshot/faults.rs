//! What can be wrong with a query service.

/// What can be wrong with the stream of headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFault {
    /// It tells of blocks that are not there, one after the other.
    Lies,
    /// It does so as fast as it can.
    Floods,
    /// It says nothing any more.
    Stalls,
    /// It ends, whenever it is opened.
    Dies,
}

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
    /// The answers are whole, and say what is not so.
    Lie(Lie),
}

/// What a service says that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// The last transaction of a namespace is left out.
    TransactionDropped,
    /// A namespace has one transaction more.
    TransactionAdded,
    /// The transactions of a namespace come in reverse. With one transaction, nothing is wrong.
    TransactionsReordered,
    /// One bit of a namespace's last transaction is another.
    TransactionAltered,
    /// Blocks lack every namespace.
    NamespaceAbsent,
    /// A namespace comes with the proof of another one of its block, if there is one.
    ProofOfAnotherNamespace,
    /// A namespace comes with the proof that it has in an older block, if there is one.
    ProofOfAnotherHeight,
    /// A namespace comes with a proof of another protocol version.
    ProofOfAnotherVersion,
    /// The weight of the committee is one more.
    Weight,
    /// As many shards as there are would be needed: payloads continue with the shards beyond them.
    Threshold,
    /// Our rollup's namespace is wrongly encoded.
    WronglyEncoded,
    /// Our rollup's namespace is wrongly encoded, and the weight of the committee is one more.
    WronglyEncodedAtMoreWeight,
    /// The header at that height has another time.
    HeaderAltered(u64),
    /// The header at that height is left out, the next one comes in its place.
    HeaderSkipped(u64),
    /// The headers at that height and the next one come in each other's place.
    HeadersSwapped(u64),
    /// From that height on, headers are of a version that nobody knows.
    UnknownVersion(u64),
    /// Paths lead to the root at another height.
    PathToAnotherRoot,
    /// The service shows the forged chain, see [`Hotshot::forge`](super::Hotshot::forge).
    ForgedChain,
}

/// Where a service proves that a namespace is wrongly encoded; revisions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proven {
    /// `availability/incorrect-encoding-proof/{height}/{namespace}`.
    #[default]
    Apart,
    /// `availability/incorrect-encoding/{namespace}/block/{height}`.
    ApartByNamespace,
    /// Where one block's namespace is asked for.
    Inline,
    /// Nowhere.
    Nowhere,
}
