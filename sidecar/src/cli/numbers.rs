//! Numbers among the arguments.

use std::str::FromStr;

/// A whole number.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn whole_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "not a whole number, or too large".into())
}
