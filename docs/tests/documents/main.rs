//! Checks what the documents say: every Markdown file of the checkout, the dashboard and the alert
//! rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic with its place"
)]

mod blocks;
mod chart;
mod commands;
mod failing;
mod floors;
mod form;
mod links;
mod metrics;
mod page;
mod states;
mod watching;

/// Fails with all problems, not only the first.
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_tables_of_settings_are_current() {
    let page = std::fs::read_to_string(page::root().join(finality_docs::PAGE)).unwrap();
    assert!(
        finality_docs::with_tables(&page).unwrap() == page,
        "{} is stale: run `cargo xtask docs`",
        finality_docs::PAGE
    );
}

/// What a newcomer reads in three minutes.
const README_WORDS: usize = 750;

#[test]
fn the_readme_is_short() {
    let text = std::fs::read_to_string(page::root().join("README.md")).unwrap();
    // Code blocks are looked at, not read.
    let prose = text.split("```").step_by(2);
    let words: usize = prose.map(|part| part.split_whitespace().count()).sum();
    assert!(words <= README_WORDS, "README.md has {words} words, the limit is {README_WORDS}");
}
