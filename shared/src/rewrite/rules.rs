//! What counts as a tag, and where. Every default of the rewriter is here.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::methods::NeverList;

/// Which strings inside `params` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Any string value at any depth, in every method that is not in the never-list.
    #[default]
    Params,
    /// Only positions where a block may stand, by the method table: see
    /// [`crate::methods::positions`]. Parameters given by name are not covered, nor are methods
    /// that the table does not hold.
    BlockParameters,
}

impl Scope {
    /// The spelling in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::BlockParameters => "block-parameters",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown scope {0:?}: it is \"params\" or \"block-parameters\"")]
pub struct UnknownScope(pub String);

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        [Self::Params, Self::BlockParameters]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// The longest body that is taken, in bytes, unless configured: below the 1 MiB that a listener of
/// Envoy holds by default.
pub const DEFAULT_MAX_BODY_BYTES: usize = 1_000_000;

/// The most bytes that a stream holds back, unless configured: well below the 1 MiB that a listener
/// of Envoy holds by default.
pub const DEFAULT_MAX_HELD_BYTES: usize = 256 * 1024;

/// What the rewriter looks for, and its limits. The limits concern only bodies that may hold a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The tags, exact and case-sensitive; each becomes the same number.
    pub tags: Vec<String>,
    /// Where they count.
    pub scope: Scope,
    /// Methods that are never rewritten, in either scope.
    pub never: NeverList,
    /// The most elements that a batch with a tag may have.
    pub max_batch_length: usize,
    /// The most objects and arrays, one inside the other, that a body may have; the outermost
    /// counts as one.
    pub max_depth: usize,
    /// The most bytes from a tag to the `method` of its request, in a [stream](super::Stream): so
    /// much is held back.
    pub max_held_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            tags: vec!["espresso".to_owned()],
            scope: Scope::Params,
            never: NeverList::default(),
            max_batch_length: 1000,
            max_depth: 128,
            max_held_bytes: DEFAULT_MAX_HELD_BYTES,
        }
    }
}

/// Why rules cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RulesError {
    /// There is no tag.
    #[error("no tag is configured (tags): give at least one, for instance \"espresso\"")]
    NoTags,
    /// A tag is the empty string.
    #[error("a tag is empty (tags)")]
    EmptyTag,
    /// A tag is given twice.
    #[error("tag {tag:?} is given twice (tags)")]
    DuplicateTag {
        /// The tag.
        tag: String,
    },
    /// A tag reads as a hex number, so that block numbers would be replaced.
    #[error(
        "tag {tag:?} is a hex number (tags): it would replace block numbers that clients ask for"
    )]
    NumericTag {
        /// The tag.
        tag: String,
    },
    /// A tag has a character that plain JSON text cannot hold.
    #[error(
        "tag {tag:?} holds a quote, a backslash, a control or replacement character, or white space at an end (tags)"
    )]
    UnspellableTag {
        /// The tag.
        tag: String,
    },
    /// A limit is zero, so that every tag would be refused.
    #[error("{setting} is 0: every body with a tag would be refused; the least is 1")]
    ZeroLimit {
        /// The setting's name.
        setting: &'static str,
    },
}

impl Rules {
    /// # Errors
    /// [`RulesError`] when the rules cannot be meant.
    pub(super) fn check(&self) -> Result<(), RulesError> {
        if self.tags.is_empty() {
            return Err(RulesError::NoTags);
        }
        for (at, tag) in self.tags.iter().enumerate() {
            check_tag(tag)?;
            if self.tags.iter().take(at).any(|earlier| earlier == tag) {
                return Err(RulesError::DuplicateTag { tag: tag.clone() });
            }
        }
        for (setting, limit) in [
            ("max_batch_length", self.max_batch_length),
            ("max_depth", self.max_depth),
            ("max_held_bytes", self.max_held_bytes),
        ] {
            if limit == 0 {
                return Err(RulesError::ZeroLimit { setting });
            }
        }
        Ok(())
    }
}

fn check_tag(tag: &str) -> Result<(), RulesError> {
    if tag.is_empty() {
        return Err(RulesError::EmptyTag);
    }
    let is_hex = tag
        .strip_prefix("0x")
        .or_else(|| tag.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    if is_hex {
        return Err(RulesError::NumericTag { tag: tag.to_owned() });
    }
    // What cannot be decoded from a string becomes U+FFFD on some nodes.
    let unspellable =
        |c: char| c.is_control() || matches!(c, '"' | '\\' | char::REPLACEMENT_CHARACTER);
    if tag.contains(unspellable) || tag.trim() != tag {
        return Err(RulesError::UnspellableTag { tag: tag.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tags: &[&str]) -> Result<(), RulesError> {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        Rules { tags, ..Rules::default() }.check()
    }

    #[test]
    fn tags_that_cannot_be_meant_are_refused_by_name() {
        let tag = |tag: &str| tag.to_owned();
        assert_eq!(check(&[]), Err(RulesError::NoTags));
        assert_eq!(check(&["espresso", ""]), Err(RulesError::EmptyTag));
        assert_eq!(check(&["a", "b", "a"]), Err(RulesError::DuplicateTag { tag: tag("a") }));
        for numeric in ["0x", "0x10", "0XfF"] {
            assert_eq!(check(&[numeric]), Err(RulesError::NumericTag { tag: tag(numeric) }));
        }
        for odd in ["a\"b", "a\\b", "a\nb", "\u{7f}", "\u{fffd}", " espresso", "espresso "] {
            assert_eq!(check(&[odd]), Err(RulesError::UnspellableTag { tag: tag(odd) }));
        }
        assert_eq!(check(&["espresso", "finalized", "0xyz", "fini té", "😀"]), Ok(()));
    }

    #[test]
    fn limits_of_zero_are_refused_by_name() {
        let rules = Rules { max_batch_length: 0, ..Rules::default() };
        let message = rules.check().unwrap_err().to_string();
        assert!(message.starts_with("max_batch_length is 0"), "{message}");
        let rules = Rules { max_depth: 0, ..Rules::default() };
        assert_eq!(rules.check(), Err(RulesError::ZeroLimit { setting: "max_depth" }));
    }

    #[test]
    fn a_scope_has_one_spelling() {
        for scope in [Scope::Params, Scope::BlockParameters] {
            assert_eq!(scope.to_string().parse(), Ok(scope));
            assert_eq!(serde_json::to_string(&scope).unwrap(), format!("\"{scope}\""));
        }
        let message = "blocks".parse::<Scope>().unwrap_err().to_string();
        assert!(
            message.contains("\"blocks\"") && message.contains("block-parameters"),
            "{message}"
        );
    }
}
