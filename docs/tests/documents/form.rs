//! The form of sources and pages, as far as rustfmt on stable does not check it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

use crate::{
    assert_none,
    page::{files, root},
};

/// Maximum width of comments, the same as that of code.
const WIDTH: usize = 100;

/// The problems of all files whose names end with `end`.
fn problems(end: &str, judge: impl Fn(&str) -> Vec<(usize, String)>) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(|name| name.ends_with(end)) {
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        found.extend(judge(&text).iter().map(|(line, what)| format!("{place}:{line}: {what}")));
    }
    found
}

/// Comments that are too wide, except for examples, tables and links in them.
fn wide_comments(text: &str, mark: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut example = false;
    for (number, line) in (1..).zip(text.lines()) {
        let Some(comment) = line.trim_start().strip_prefix(mark) else {
            example = false;
            continue;
        };
        let comment = comment.trim_start_matches(['/', '!', ' ']);
        example ^= comment.starts_with("```");
        let may_be_wide = example || comment.starts_with('|') || !comment.contains(' ');
        if line.chars().count() > WIDTH && !may_be_wide {
            found.push((number, format!("a comment is wider than {WIDTH} columns")));
        }
    }
    found
}

/// Groups of imports, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Std,
    Crates,
    Own,
}

/// Imports that are not in their group, or not merged with others of the same root.
fn disordered_imports(text: &str) -> Vec<(usize, String)> {
    static CHILD: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?m)^(?:pub(?:\(\w+\))? )?mod (\w+);").unwrap());
    static IMPORT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^( *)use (?:::)?(?:r#)?(\w+)").unwrap());
    let children: BTreeSet<_> =
        CHILD.captures_iter(text).map(|found| found[1].to_owned()).collect();
    let group = |root: &str| match root {
        "std" | "core" | "alloc" => Group::Std,
        "crate" | "super" | "self" => Group::Own,
        root if children.contains(root) => Group::Own,
        _ => Group::Crates,
    };
    let mut found = Vec::new();
    // Indentation and group of the previous import, and the roots in that group.
    let mut last: Option<(String, Group)> = None;
    let mut roots = BTreeSet::new();
    let (mut open, mut apart) = (false, false);
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(import) = IMPORT.captures(line) {
            let (indentation, root) = (import[1].to_owned(), import[2].to_owned());
            let this = group(&root);
            match &last {
                Some((before, last)) if *before == indentation => {
                    if this < *last {
                        found.push((number, format!("{root} after another group of imports")));
                    } else if (this == *last) == apart {
                        found.push((number, format!("one blank line between groups: {root}")));
                    }
                    if this != *last {
                        roots.clear();
                    }
                }
                _ => roots.clear(),
            }
            if !roots.insert(root.clone()) {
                found.push((number, format!("two imports of {root}")));
            }
            last = Some((indentation, this));
            open = !line.trim_end().ends_with(';');
            apart = false;
        } else if open {
            open = !line.trim_end().ends_with(';');
        } else if line.trim().is_empty() {
            apart = true;
        } else {
            last = None;
        }
    }
    found
}

/// Lines in paragraphs that are not exactly one sentence.
fn broken_sentences(text: &str) -> Vec<(usize, String)> {
    static END: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"[.!?:;…]["”)*_`]*$"#).unwrap());
    static TWO: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"\w[a-z0-9)”]+[.!?]["”)*_]* ["“(*_]*[A-Z]"#).unwrap());
    let mut found = Vec::new();
    let mut paragraph: Option<String> = None;
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES);
    for (event, range) in parser.into_offset_iter() {
        let number = text[..range.start].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::Paragraph | Tag::Item) => paragraph = Some(String::new()),
            Event::End(TagEnd::Paragraph | TagEnd::Item) => paragraph = None,
            Event::Text(piece) => {
                let Some(line) = &mut paragraph else { continue };
                line.push_str(&piece);
                if TWO.is_match(line) {
                    found.push((number, format!("two sentences in a line: {line}")));
                    line.clear();
                }
            }
            Event::Code(_) | Event::InlineHtml(_) | Event::FootnoteReference(_) => {
                if let Some(line) = &mut paragraph {
                    line.push('`');
                }
            }
            Event::SoftBreak => {
                let Some(line) = &mut paragraph else { continue };
                if !END.is_match(line) {
                    found.push((number, format!("a sentence is broken: {line}")));
                }
                line.clear();
            }
            _ => {}
        }
    }
    found
}

/// Modules `name.rs` with children in a folder `name`.
fn split_modules(paths: &[PathBuf]) -> Vec<String> {
    let folders: BTreeSet<_> = paths.iter().filter_map(|path| path.parent()).collect();
    let is_split = |path: &&PathBuf| folders.contains(path.with_extension("").as_path());
    let place = |path: &PathBuf| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    paths
        .iter()
        .filter(is_split)
        .map(|path| format!("{} has a folder beside it", place(path)))
        .collect()
}

#[test]
fn comments_are_within_the_width() {
    let mut found = problems(".rs", |text| wide_comments(text, "//"));
    for end in [".toml", ".py"] {
        found.extend(problems(end, |text| wide_comments(text, "#")));
    }
    assert_none(&found);
}

#[test]
fn imports_are_in_three_groups() {
    assert_none(&problems(".rs", disordered_imports));
}

#[test]
fn modules_with_children_are_named_mod_rs() {
    assert_none(&split_modules(&files(|name| name.ends_with(".rs"))));
}

#[test]
fn markdown_has_one_sentence_per_line() {
    assert_none(&problems(".md", broken_sentences));
}

#[test]
fn wrong_form_is_found() {
    let wide = format!("    // {}", "word ".repeat(30));
    assert_eq!(wide_comments(&wide, "//").len(), 1);
    assert_eq!(wide_comments("// short", "//"), []);
    assert_eq!(wide_comments(&format!("// https://x.test/{}", "x".repeat(120)), "//"), []);

    let paths = ["a/b.rs", "a/c.rs", "a/c/d.rs", "a/e/mod.rs"].map(|path| Path::new(path).into());
    assert_eq!(split_modules(&paths), ["a/c.rs has a folder beside it"]);

    for right in [
        "use std::fs;\n\nuse serde::{\n    A,\n};\n\nuse crate::x;\nuse super::y;\n\nfn f() {}",
        "mod x;\n\nuse std::fs;\n\nuse x::Y;\n\nmod tests {\n    use super::*;\n}",
        "use a::b;\nuse c::d;\n",
    ] {
        assert_eq!(disordered_imports(right), [], "{right}");
    }
    for wrong in [
        "use serde::A;\n\nuse std::fs;",
        "use std::fs;\nuse serde::A;",
        "use a::b;\n\nuse c::d;",
        "use a::b;\nuse a::c;",
        "mod x;\n\nuse x::Y;\n\nuse a::b;",
    ] {
        assert_eq!(disordered_imports(wrong).len(), 1, "{wrong}");
    }

    for right in [
        "One sentence.\nAnother: with `code`.\n\n- An item.\n  It goes on.\n\n# A. Heading\n",
        "| A. B | c |\n| --- | --- |\n| One. Two. | x |\n",
        "Version 1. 2 and e.g. This (that is). \n",
    ] {
        assert_eq!(broken_sentences(right), [], "{right}");
    }
    for wrong in
        ["A sentence that\ngoes on.\n", "One sentence. Another one.\n", "- An item. More.\n"]
    {
        assert_eq!(broken_sentences(wrong).len(), 1, "{wrong}");
    }
}
