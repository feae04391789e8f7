//! No paragraph and no row of a table stands twice in a page: what two changes have both brought is
//! easily merged so.

use std::{collections::BTreeMap, fs};

use crate::{
    assert_none,
    page::{pages, root},
};

/// Shorter lines, such as those between the head and the rows of a table, may be the same.
const LEAST: usize = 60;

/// The lines, outside blocks of code, that are the same as one before: both line numbers, from 1.
fn twice(text: &str) -> Vec<(usize, usize)> {
    let mut seen = BTreeMap::new();
    let mut found = Vec::new();
    let mut code = false;
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.starts_with("```") {
            code = !code;
        } else if !code && content.len() >= LEAST {
            let first = *seen.entry(content).or_insert(line);
            if first != line {
                found.push((first, line));
            }
        }
    }
    found
}

#[test]
fn nothing_stands_twice_in_a_page() {
    let mut problems = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page.path)).unwrap();
        for (first, line) in twice(&text) {
            problems.push(format!("{}:{line}: the same as line {first}", page.path.display()));
        }
    }
    assert_none(&problems);
}

#[test]
fn a_line_that_stands_twice_is_found() {
    let long = "| a row of a table that is long enough | to be noticed when it is there again |";
    assert_eq!(twice(&format!("{long}\n\nshort\nshort\n{long}\n")), [(1, 5)]);
    assert_eq!(twice(&format!("{long}\n```\n{long}\n```\n")), []);
}
