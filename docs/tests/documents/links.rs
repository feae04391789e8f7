//! Links within the checkout.

use std::path::{Component, Path, PathBuf};

use crate::{
    assert_none,
    page::{Page, pages, root},
};

/// The problem of a link on a page.
fn problem(from: &Path, target: &str, pages: &[Page]) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path =
        if path.is_empty() { from.into() } else { tidy(&from.with_file_name("").join(path)) };
    if !root().join(&path).exists() {
        return Some(format!("there is no {}", path.display()));
    }
    if anchor.is_empty() {
        return None;
    }
    match pages.iter().find(|page| page.path == path) {
        Some(page) if page.anchors.iter().any(|known| known == anchor) => None,
        Some(_) => Some(format!("{} has no heading for #{anchor}", path.display())),
        None => Some(format!("{} has no headings", path.display())),
    }
}

/// A path without `..`.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(tidy.pop(), "{} leaves the checkout", path.display()),
            Component::CurDir => {}
            other => tidy.push(other),
        }
    }
    tidy
}

/// The problem of a link relative to the root of the checkout.
pub(crate) fn problem_from_top(target: &str, pages: &[Page]) -> Option<String> {
    problem(Path::new("README.md"), target, pages)
}

#[test]
fn every_link_has_a_target() {
    let pages = pages();
    let mut problems = Vec::new();
    for page in &pages {
        for link in &page.links {
            if let Some(problem) = problem(&page.path, &link.text, &pages) {
                problems.push(format!("{}: {}: {problem}", page.at(link.line), link.text));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn a_broken_link_is_found() {
    let pages = pages();
    let from = Path::new("docs/design.md");
    for good in
        ["design.md", "../README.md#quick-start", "#2-the-head", "https://x.test/#y", "../docs"]
    {
        assert_eq!(problem(from, good, &pages), None, "{good}");
    }
    for dead in ["nothing.md", "README.md", "#nothing", "../README.md#nothing", "../docs#x"] {
        assert!(problem(from, dead, &pages).is_some(), "{dead}");
    }
}
