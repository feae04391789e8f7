//! The parts of a Markdown file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A text and its first line.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A fenced block of code.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
}

/// A Markdown file.
#[derive(Debug)]
pub(crate) struct Page {
    /// Relative to the root of the checkout.
    pub(crate) path: PathBuf,
    pub(crate) anchors: Vec<String>,
    /// Targets of links and pictures.
    pub(crate) links: Vec<Piece>,
    pub(crate) blocks: Vec<Block>,
    /// Code in text.
    pub(crate) spans: Vec<Piece>,
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

/// All Markdown files of the checkout.
pub(crate) fn pages() -> Vec<Page> {
    let found = files(|name| name.ends_with(".md"));
    assert!(found.len() > 5, "only {} pages were found", found.len());
    found.iter().map(|path| Page::read(path)).collect()
}

/// The files of the checkout whose names are wanted.
pub(crate) fn files(wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // Built, fetched or hidden.
            let skipped = name.starts_with('.') || ["target", "node_modules"].contains(&&*name);
            if path.is_dir() && !skipped {
                folders.push(path);
            } else if wanted(&name) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        Self::parse(path.strip_prefix(root()).unwrap().into(), &text)
    }

    pub(crate) fn parse(path: PathBuf, text: &str) -> Self {
        let mut page = Self { path, anchors: vec![], links: vec![], blocks: vec![], spans: vec![] };
        let mut slugs = BTreeMap::new();
        let (mut heading, mut block): (Option<String>, Option<Block>) = (None, None);
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap());
                    let count = slugs.entry(slug.clone()).or_insert(0);
                    page.anchors.push(match *count {
                        0 => slug,
                        more => format!("{slug}-{more}"),
                    });
                    *count += 1;
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(Piece { line, text: dest_url.into_string() });
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    block = Some(Block { line, language, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.push(block.take().unwrap()),
                Event::Text(text) => {
                    let to = block.as_mut().map(|block| &mut block.text);
                    if let Some(to) = to.or(heading.as_mut()) {
                        to.push_str(&text);
                    }
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    page.spans.push(Piece { line, text: code.into_string() });
                }
                _ => {}
            }
        }
        page
    }

    /// A place on the page, for messages.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

/// The anchor that hosts such as GitHub give a heading.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn the_parts_of_a_page_are_found() {
    let text = "# A `b`: c\n\n## A b c\n\n[x](y.md#z) `code`\n\n```sh\none\n```\n";
    let page = Page::parse("p.md".into(), text);
    assert_eq!(page.anchors, ["a-b-c", "a-b-c-1"]);
    assert_eq!((page.links[0].line, page.links[0].text.as_str()), (5, "y.md#z"));
    assert_eq!(page.spans.iter().map(|span| &*span.text).collect::<Vec<_>>(), ["b", "code"]);
    let block = &page.blocks[0];
    assert_eq!((block.line, &*block.language, &*block.text), (7, "sh", "one\n"));
}
