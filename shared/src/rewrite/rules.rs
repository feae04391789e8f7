//! What is a tag, where tags are replaced, and the limits. All defaults of the rewriter are here.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::methods::{ExcludedMethods, MethodTable};

/// Which strings inside `params` are eligible for replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every string value at any depth, in every method that is not excluded.
    #[default]
    Params,
    /// Only where a block may appear according to [`Rules::block_parameters`]. Methods that are not
    /// in that table are left alone.
    ///
    /// Parameters passed by name are treated as those at their position, if the name is known (in
    /// snake or camel case, see [`crate::methods::parameter_names`]). Under any other name, the
    /// value is taken for a block, and its members for those of any position of the method.
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

/// A text that is not a [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown scope {0:?}: expected \"params\" or \"block-parameters\"")]
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

/// Default limit of a body that is held as a whole, in bytes. Below the 1 MiB that an Envoy
/// listener buffers by default.
pub const DEFAULT_MAX_BODY_BYTES: usize = 1_000_000;

/// Default of [`Rules::max_held_bytes`], 256 KiB. Well below the 1 MiB that an Envoy listener
/// buffers by default.
pub const DEFAULT_MAX_HELD_BYTES: usize = 262_144;

/// What the rewriter replaces, and its limits. The limits apply only to bodies that may contain a
/// tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The tags, in any ASCII case. All become the same number.
    pub tags: Vec<String>,
    /// Where tags are replaced.
    pub scope: Scope,
    /// Methods that are not rewritten. In [`Scope::BlockParameters`], only those that are excluded
    /// by name matter: the table has none of the default list unless a row is added for it.
    pub excluded: ExcludedMethods,
    /// Where blocks may appear, for [`Scope::BlockParameters`].
    pub block_parameters: MethodTable,
    /// The most elements of a batch with a tag.
    pub max_batch_length: usize,
    /// The deepest nesting of objects and arrays, in levels; the outermost one is level 1.
    pub max_depth: usize,
    /// The most bytes between a tag and the `method` of its request in a [stream](super::Stream),
    /// which holds them back.
    pub max_held_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            tags: vec!["espresso".to_owned()],
            scope: Scope::Params,
            excluded: ExcludedMethods::default(),
            block_parameters: MethodTable::default(),
            max_batch_length: 1000,
            max_depth: 128,
            max_held_bytes: DEFAULT_MAX_HELD_BYTES,
        }
    }
}

/// Why rules are invalid. Every message names the setting to change.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RulesError {
    /// There is no tag.
    #[error("tags is empty: configure at least one tag, such as \"espresso\"")]
    NoTags,
    /// A tag is the empty string.
    #[error("tags contains an empty tag")]
    EmptyTag,
    /// A tag is listed twice, perhaps in different case.
    #[error("tags contains {tag:?} twice; upper and lower case are the same")]
    DuplicateTag {
        /// The tag.
        tag: String,
    },
    /// A tag is a hex number, so that block numbers would be replaced.
    #[error("tags contains {tag:?}, a hex number: block numbers that clients ask for would change")]
    NumericTag {
        /// The tag.
        tag: String,
    },
    /// A tag contains a character that JSON must escape, or that nodes do not decode alike.
    #[error(
        "tags contains {tag:?}: quotes, backslashes, control or replacement characters and surrounding white space are not allowed"
    )]
    UnspellableTag {
        /// The tag.
        tag: String,
    },
    /// A row was added for a method that is excluded by name.
    #[error("block_parameters has a row for {method}, which never_methods excludes")]
    ExcludedRow {
        /// The method.
        method: String,
    },
    /// A limit is zero, so that every body with a tag would be refused.
    #[error("{setting} must be at least 1: with 0 every body with a tag would be refused")]
    ZeroLimit {
        /// The name of the setting.
        setting: &'static str,
    },
}

impl Rules {
    /// # Errors
    /// [`RulesError`] if the rules are invalid.
    pub(super) fn check(&self) -> Result<(), RulesError> {
        if self.tags.is_empty() {
            return Err(RulesError::NoTags);
        }
        for (at, tag) in self.tags.iter().enumerate() {
            check_tag(tag)?;
            if self.tags.iter().take(at).any(|earlier| earlier.eq_ignore_ascii_case(tag)) {
                return Err(RulesError::DuplicateTag { tag: tag.clone() });
            }
        }
        let excluded = |method: &&str| self.excluded.extra_contains(method);
        if let Some(method) = self.block_parameters.added().find(excluded) {
            return Err(RulesError::ExcludedRow { method: method.to_owned() });
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
    // Some nodes decode invalid input to U+FFFD.
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
    fn invalid_tags_are_rejected() {
        let tag = |tag: &str| tag.to_owned();
        assert_eq!(check(&[]), Err(RulesError::NoTags));
        assert_eq!(check(&["espresso", ""]), Err(RulesError::EmptyTag));
        for twice in [["a", "b", "a"], ["é", "a", "A"]] {
            assert_eq!(check(&twice), Err(RulesError::DuplicateTag { tag: tag(twice[2]) }));
        }
        assert_eq!(check(&["é", "É"]), Ok(()), "only ASCII letters have a case here");
        for numeric in ["0x", "0x10", "0XfF"] {
            assert_eq!(check(&[numeric]), Err(RulesError::NumericTag { tag: tag(numeric) }));
        }
        for odd in ["a\"b", "a\\b", "a\nb", "\u{7f}", "\u{fffd}", " espresso", "espresso "] {
            assert_eq!(check(&[odd]), Err(RulesError::UnspellableTag { tag: tag(odd) }));
        }
        assert_eq!(check(&["espresso", "finalized", "0xyz", "fini té", "😀"]), Ok(()));
    }

    #[test]
    fn a_row_for_a_method_excluded_by_name_is_rejected() {
        let row =
            |method: &str| MethodTable::new([(method.to_owned(), vec!["0".parse().unwrap()])]);
        let excluded = ExcludedMethods::new(true, ["acme_*".to_owned()]);
        let rules = Rules { excluded, block_parameters: row("acme_call"), ..Rules::default() };
        let method = "acme_call".to_owned();
        assert_eq!(rules.check(), Err(RulesError::ExcludedRow { method }));
        let rules = Rules { block_parameters: row("debug_traceBlock"), ..rules };
        assert_eq!(rules.check(), Ok(()), "a row overrides the default list");
    }

    #[test]
    fn zero_limits_are_rejected() {
        let rules = Rules { max_batch_length: 0, ..Rules::default() };
        let message = rules.check().unwrap_err().to_string();
        assert!(message.starts_with("max_batch_length must be at least 1"), "{message}");
        let rules = Rules { max_depth: 0, ..Rules::default() };
        assert_eq!(rules.check(), Err(RulesError::ZeroLimit { setting: "max_depth" }));
    }

    #[test]
    fn scopes_round_trip() {
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
