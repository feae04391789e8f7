//! The file's text.
