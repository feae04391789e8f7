//! Log set-up.

/// Form of the log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}
