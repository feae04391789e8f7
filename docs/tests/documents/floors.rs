//! The modules of the sidecar are on the floors in `docs/design.md`, and use lower floors only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, ItemFn, ItemImpl, ItemMod, ItemUse, Macro, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{assert_none, page::root};

/// The segments of a path, such as `crate`, `verifier`, `CatchUp`.
type Names = Vec<String>;

/// A path in a file's product code.
#[derive(Debug)]
struct Mention {
    names: Names,
    line: usize,
}

/// A module of the crate, and the paths in its code.
#[derive(Debug)]
struct Module {
    /// Relative to the crate's root, without `crate`.
    names: Names,
    mentions: Vec<Mention>,
    /// The paths of imported names.
    imports: BTreeMap<String, Names>,
    /// Child modules in files of their own, except for tests.
    children: Vec<String>,
}

impl Module {
    fn parse(names: &[&str], text: &str) -> Self {
        let file = syn::parse_file(text).unwrap();
        let mut module = Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            mentions: Vec::new(),
            imports: BTreeMap::new(),
            children: Vec::new(),
        };
        module.visit_file(&file);
        module
    }

    fn label(&self) -> String {
        self.names.join("::")
    }

    /// The path relative to the crate's root; none outside the crate.
    fn absolute(&self, names: &[String]) -> Option<Names> {
        let supers = names.iter().take_while(|name| *name == "super").count();
        let base = match names.first()?.as_str() {
            "crate" => return Some(names[1..].to_vec()),
            "self" => return Some([&self.names[..], &names[1..]].concat()),
            "super" => self.names.len().checked_sub(supers)?,
            child if self.children.iter().any(|known| known == child) => self.names.len(),
            _ => return None,
        };
        Some([&self.names[..base], &names[supers..]].concat())
    }

    fn mention(&mut self, names: Names, line: usize) {
        self.mentions.push(Mention { names, line });
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &dyn ToString| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, before));
            }
            UseTree::Name(name) => self.bring_in(name.ident.to_string(), with(&name.ident), tree),
            UseTree::Rename(rename) => {
                self.bring_in(rename.rename.to_string(), with(&rename.ident), tree);
            }
            _ => self.mention(before.to_vec(), tree.span().start().line),
        }
    }

    fn bring_in(&mut self, name: String, mut path: Names, tree: &UseTree) {
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name };
        self.imports.insert(name, path.clone());
        self.mention(path, tree.span().start().line);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        match &item.content {
            None => self.children.push(item.ident.to_string()),
            Some(_) => panic!("{}: product code has no inline modules", item.ident),
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.import(&item.tree, &[]);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.mention(names, path.span().start().line);
        visit::visit_path(self, path);
    }

    /// Arguments of macros are not parsed; paths in them are found textually.
    fn visit_macro(&mut self, item: &'ast Macro) {
        let text = item.tokens.to_string().replace(" :: ", "::");
        let words = text.split(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)));
        for word in words.filter(|word| word.contains("::")) {
            let names = word.split("::").map(str::to_owned).collect();
            self.mention(names, item.span().start().line);
        }
        visit::visit_macro(self, item);
    }
}

/// All modules of the sidecar, starting at `lib.rs`.
fn modules() -> Vec<Module> {
    let source = root().join("sidecar/src");
    let mut found = Vec::new();
    let mut open = vec![Names::new()];
    while let Some(names) = open.pop() {
        let module = read(&source, &names);
        for child in &module.children {
            open.push([&names[..], std::slice::from_ref(child)].concat());
        }
        found.push(module);
    }
    assert!(found.len() > 60, "only {} modules were found", found.len());
    found
}

fn read(source: &Path, names: &[String]) -> Module {
    let path = source.join(names.iter().collect::<PathBuf>());
    let candidates = if names.is_empty() {
        [source.join("lib.rs"), source.join("mod.rs")]
    } else {
        [path.with_extension("rs"), path.join("mod.rs")]
    };
    let file = candidates.iter().find(|path| path.exists());
    let file = file.unwrap_or_else(|| panic!("no file for {}", names.join("::")));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    Module::parse(&names, &fs::read_to_string(file).unwrap())
}

/// The floor of each module in the table of `docs/design.md`.
fn floors() -> BTreeMap<String, usize> {
    let page = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| floor | modules |")).skip(2);
    let mut floors = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let floor = cells[1].parse().unwrap();
        for module in cells[2].split('`').skip(1).step_by(2) {
            assert_eq!(floors.insert(module.to_owned(), floor), None, "{module} is there twice");
        }
    }
    assert!(floors.len() > 10, "the table in docs/design.md was not found");
    floors
}

/// Uses of modules that are not on a lower floor.
fn arrows_up(module: &Module, floors: &BTreeMap<String, usize>) -> Vec<String> {
    let Some(own) = module.names.first() else { return vec![] };
    let mut problems = BTreeSet::new();
    for Mention { names, line } in &module.mentions {
        let Some(target) = module.absolute(names).and_then(|names| names.first().cloned()) else {
            continue;
        };
        let problem = match (floors.get(own), floors.get(&target)) {
            _ if target == *own => continue,
            (Some(from), Some(to)) if to < from => continue,
            (Some(from), Some(to)) => format!("uses {target} on floor {to} from floor {from}"),
            (None, _) => format!("{own} is on no floor"),
            (_, None) => format!("uses {target}, which is on no floor"),
        };
        problems.insert(format!("{}, line {line}: {problem}", module.label()));
    }
    problems.into_iter().collect()
}

/// The other modules that a module uses, except for its parents and children: a parent connects its
/// children with each other.
fn uses<'a>(module: &Module, all: &'a [Module]) -> BTreeSet<&'a [String]> {
    let by_names = |names: &[String]| all.iter().find(|module| module.names == names);
    let mut used = BTreeSet::new();
    for Mention { names, .. } in &module.mentions {
        let mut next = module.absolute(names);
        // A name imported by the parent is resolved to its definition.
        for _ in 0..4 {
            let Some(path) = next.take() else { break };
            let longest = (1..=path.len()).rev().find_map(|length| by_names(&path[..length]));
            let Some(target) = longest else { break };
            next = path
                .get(target.names.len())
                .and_then(|name| target.imports.get(name))
                .and_then(|behind| target.absolute(behind).filter(|behind| *behind != path));
            if next.is_none() {
                used.insert(&*target.names);
            }
        }
    }
    used.retain(|used| !module.names.starts_with(used) && !used.starts_with(&module.names));
    used
}

/// Modules in a cycle, or on a path between two cycles.
fn circles(all: &[Module]) -> Vec<String> {
    let mut arrows: BTreeSet<(&[String], &[String])> = all
        .iter()
        .flat_map(|module| uses(module, all).into_iter().map(|used| (&*module.names, used)))
        .collect();
    // A module without incoming or outgoing arrows is in no cycle.
    loop {
        let (from, to): (BTreeSet<_>, BTreeSet<_>) = arrows.iter().copied().unzip();
        let before = arrows.len();
        arrows.retain(|(user, used)| to.contains(user) && from.contains(used));
        if arrows.len() == before {
            break;
        }
    }
    let label = |names: &[String]| names.join("::");
    arrows.iter().map(|(user, used)| format!("{} uses {}", label(user), label(used))).collect()
}

#[test]
fn every_module_of_the_sidecar_uses_only_lower_floors() {
    let (modules, floors) = (modules(), floors());
    let is_root = |module: &&Module| module.names.is_empty();
    let declared: BTreeSet<_> =
        modules.iter().find(is_root).unwrap().children.iter().cloned().collect();
    assert_eq!(declared, floors.keys().cloned().collect(), "docs/design.md and sidecar/src/lib.rs");
    let problems: Vec<_> = modules.iter().flat_map(|module| arrows_up(module, &floors)).collect();
    assert_none(&problems);
}

#[test]
fn no_modules_of_the_sidecar_use_each_other() {
    assert_none(&circles(&modules()));
}

/// The arrows that once made a cycle of 26 files.
#[test]
fn an_arrow_up_is_found() {
    let floors = floors();
    for (module, text) in [
        (&["telemetry", "metrics"][..], "use crate::verifier::CatchUp;"),
        (&["telemetry", "gauges"], "use crate::verifier::CatchUp;"),
        (&["telemetry", "traces"], "fn f(e: E) -> String { crate::upstream::describe(&e) }"),
        (&["upstream"], "use crate::{config::SecretUrl, telemetry::metrics::Target};"),
        (&["upstream", "health"], "use super::super::config::SecretUrl;"),
        (&["l1"], "use crate::{eth::BlockId, node::{Quantity, block_id_call}};"),
        (&["l1", "batch_authenticator"], "use crate::rollup::Term;"),
        (&["config"], "struct Config { batchers: crate::rollup::BatcherSource }"),
        (&["verifier"], "use crate::status::StatusBoard;"),
        (&["verifier", "findings"], "impl crate::api::status::StatusSource for Board {}"),
        (&["head"], "fn f() { tracing::info!(head = crate::verifier::head(), \"moved\"); }"),
        (&["eth"], "use super::store as place;"),
    ] {
        let module = Module::parse(module, text);
        assert_eq!(arrows_up(&module, &floors).len(), 1, "{text}: {module:?}");
    }
    let text =
        "use crate::{head::HeadBlock, node::Node}; #[cfg(test)] mod tests { use crate::api; }";
    let module = Module::parse(&["verifier", "finality"], text);
    assert_eq!(arrows_up(&module, &floors), Vec::<String>::new());
}

/// The former cycle in `config`, where `source` both held a value and gathered all of them.
#[test]
fn a_cycle_is_found() {
    let config = [
        (&["config"][..], "mod file; mod go_proxy; mod source; pub use source::{Source, Values};"),
        (&["config", "file"], "use super::{Source, go_proxy::Taken};"),
        (&["config", "go_proxy"], "use super::source::Source;"),
        (&["config", "source"], "use super::{file, go_proxy::{self, Taken}};"),
    ];
    let modules = config.map(|(names, text)| Module::parse(names, text));
    assert_eq!(circles(&modules).len(), 5, "{:?}", circles(&modules));
    let (open, _) = modules.split_at(3);
    assert_eq!(circles(open), Vec::<String>::new());
}
