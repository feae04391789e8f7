//! Derives requests from every row of `data/block-tag-methods.csv` and checks that they are
//! rewritten or left alone as the row says, in both scopes.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ExcludedMethods, MethodTable, Position, parameter_names,
    table::{BLOCK_NUMBER, MEMBERS, NAMES, OPT_IN, TABLE},
};
use crate::rewrite::{Inspection, Rewriter, Rules, Scope};

const CSV: &str = include_str!("../../data/block-tag-methods.csv");
const NAMES_CSV: &str = include_str!("../../data/parameter-names.csv");
const TAG: &str = "\"espresso\"";

struct Row {
    line: usize,
    methods: Vec<String>,
    path: String,
    accepts_object: bool,
    rewrite: String,
}

fn rows() -> Vec<Row> {
    let mut lines = CSV.lines().enumerate();
    let header = "method,tag_path,role,accepts,when_omitted,clients,rewrite,confidence,note";
    assert_eq!(lines.next().unwrap().1, header);
    lines
        .map(|(at, line)| {
            let cells = cells(line);
            assert_eq!(cells.len(), 9, "line {}: {cells:?}", at + 1);
            Row {
                line: at + 1,
                methods: methods(&cells[0]),
                path: cells[1].clone(),
                accepts_object: cells[3].split('|').any(|form| form == "object"),
                rewrite: cells[6].clone(),
            }
        })
        .collect()
}

/// The cells of a line. Quotes inside a quoted cell are doubled.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cells.last_mut().unwrap().push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cells.last_mut().unwrap().push(character),
        }
    }
    assert!(!quoted, "{line}");
    cells
}

/// The methods that a cell lists. Patterns keep their `*`.
fn methods(cell: &str) -> Vec<String> {
    let mut methods = Vec::new();
    let list = if cell.contains('(') { vec![cell] } else { cell.split(", ").collect() };
    for name in list.into_iter().flat_map(|names| names.split(" / ")) {
        if let Some((stem, endings)) = name.strip_suffix(')').and_then(|name| name.split_once('('))
        {
            methods.push(stem.to_owned());
            methods.extend(endings.split(',').map(|ending| format!("{stem}{ending}")));
        } else if let Some(stem) = name.strip_suffix("V1/V2") {
            methods.extend([format!("{stem}V1"), format!("{stem}V2")]);
        } else if let Some(endings) = name.strip_prefix("eth_query") {
            methods.extend(endings.split('|').map(|ending| format!("eth_query{ending}")));
        } else {
            methods.push(name.to_owned());
        }
    }
    for method in &methods {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '*');
        assert!(method.chars().all(plain), "shorthand {cell:?} was not expanded: {method:?}");
    }
    methods
}

/// Methods that a name or a pattern of the table matches.
fn instances(method: &str) -> Vec<String> {
    if method.contains('*') {
        vec![method.replace('*', ""), method.replace('*', "Anything")]
    } else {
        vec![method.to_owned()]
    }
}

/// A parameter with a tag: its index, and its value as JSON.
type Parameter = (usize, String);

/// Parameters with the tag at each position of a `tag_path` cell.
fn parameters(cell: &str) -> Vec<Parameter> {
    let at = |index: usize, value: &str| (index, value.to_owned());
    let mut all = Vec::new();
    let mut index = 0;
    let mut last_name = String::new();
    for piece in cell.split([',', '/', ' ', '(', ')']) {
        let (indices, names) = match piece.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some(("*", names)) => (vec![0, 1, 2, 3], names),
            Some((digits, names)) => (vec![digits.parse().unwrap()], names),
            None if piece.starts_with('.') => (vec![index], piece),
            // The second half of "blockNumberMin/Max".
            None if piece == "Max" => (vec![index], ""),
            None if matches!(piece, "" | "and" | "trace") => continue,
            // A list of strings.
            None if piece == "kinds" => {
                all.extend([at(0, &format!("[{TAG}]")), at(1, &format!("[{TAG}]"))]);
                continue;
            }
            // A word: any position.
            None => (vec![0, 1], ""),
        };
        let names = if piece == "Max" { last_name.replace("Min", "Max") } else { names.to_owned() };
        for &index in &indices {
            if names.is_empty() {
                all.push(at(index, TAG));
                continue;
            }
            let members = names.rsplit('.').filter(|name| !name.is_empty());
            let value = members.fold(TAG.to_owned(), |value, name| {
                let name = if name == "*" { "anything" } else { name };
                format!("{{\"{name}\":{value}}}")
            });
            all.push(at(index, &value));
        }
        index = *indices.last().unwrap();
        last_name = names;
    }
    assert!(!all.is_empty(), "{cell}");
    all
}

/// The parameter as the last one of an array.
fn by_position((index, value): &Parameter) -> String {
    format!("[{}{value}]", "null,".repeat(*index))
}

/// The parameter under a name.
fn by_name(name: &str, (_, value): &Parameter) -> String {
    format!(r#"{{"{name}":{value}}}"#)
}

/// The parameter with an EIP-1898 object in place of the tag.
fn as_object((index, value): &Parameter) -> Parameter {
    let object = format!("{{\"requireCanonical\":true,\"blockNumber\":{TAG}}}");
    (*index, value.replace(TAG, &object))
}

fn assert_rewritten(scope: Scope, method: &str, parameters: &str, expected: bool, line: usize) {
    let rewriter = Rewriter::new(Rules { scope, ..Rules::default() }).unwrap();
    let body = format!(r#"{{"method":"{method}","params":{parameters},"id":1}}"#);
    let out = match rewriter.inspect(body.as_bytes()) {
        Inspection::Untouched => body.clone(),
        Inspection::Tagged(tagged) => {
            String::from_utf8(tagged.splice(body.as_bytes(), 100)).unwrap()
        }
        Inspection::Refused(denied) => panic!("line {line}: {denied:?}"),
    };
    let wanted = if expected { body.replace(TAG, "\"0x64\"") } else { body };
    assert_eq!(out, wanted, "line {line} of the table, scope {scope}");
}

fn methods_with(rewrite: &[&str]) -> BTreeSet<String> {
    rows()
        .into_iter()
        .filter(|row| rewrite.contains(&row.rewrite.as_str()))
        .flat_map(|row| row.methods)
        .collect()
}

#[test]
fn requests_are_rewritten_as_every_row_says() {
    let take_a_block = methods_with(&["yes", "opt-in"]);
    let never = methods_with(&["never"]);
    for row in rows() {
        for method in row.methods.iter().flat_map(|method| instances(method)) {
            // A method that matches a `never` pattern may have a `yes` row of its own.
            let is_excluded = match row.rewrite.as_str() {
                "yes" | "opt-in" => false,
                "never" => !take_a_block.contains(&method),
                "no" => never.contains(&method),
                other => panic!("line {}: unknown rewrite {other:?}", row.line),
            };
            assert_eq!(
                ExcludedMethods::default().contains(&method),
                is_excluded,
                "line {}",
                row.line
            );
            let everywhere = |parameters: &str| {
                assert_rewritten(Scope::Params, &method, parameters, !is_excluded, row.line);
            };
            let blocks = |parameters: &str, expected| {
                assert_rewritten(Scope::BlockParameters, &method, parameters, expected, row.line);
            };
            let is_block = row.rewrite == "yes";
            let in_table = !MethodTable::default().positions(&method).is_empty();
            for parameter in parameters(&row.path) {
                everywhere(&by_position(&parameter));
                everywhere(&by_name("anything", &parameter));
                let object = as_object(&parameter);
                blocks(&by_position(&parameter), is_block);
                blocks(&by_position(&object), is_block && row.accepts_object);
                // Data that looks like a block is not one.
                blocks(&format!("[{}]", by_position(&as_object(&object))), false);

                if let Some(name) = parameter_names(&method).nth(parameter.0) {
                    blocks(&by_name(name, &parameter), is_block);
                    blocks(&by_name(name, &object), is_block && row.accepts_object);
                }
                // Under an unknown name, only data in an object is known not to be a block.
                let is_value = parameter.1 == TAG;
                blocks(&by_name("anything", &parameter), is_block || (in_table && is_value));
            }
        }
    }
}

#[test]
fn the_table_has_only_the_rows_of_the_file() {
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows().into_iter().filter(|row| row.rewrite == "yes") {
        for method in row.methods {
            *expected.entry(method).or_default() += 1;
        }
    }
    let actual: BTreeMap<String, usize> = TABLE
        .iter()
        .map(|(method, positions, _)| ((*method).to_owned(), positions.len()))
        .collect();
    assert_eq!(actual, expected);

    let opt_in: Vec<String> = methods_with(&["opt-in"]).into_iter().collect();
    assert_eq!(OPT_IN, opt_in);

    let never = methods_with(&["never"]);
    for name in super::excluded::default_names() {
        let listed =
            never.contains(name) || never.iter().any(|row| row.contains('*') && row == name);
        assert!(listed, "{name} has no `never` row");
    }
}

#[test]
fn members_lists_every_member_of_the_table() {
    let mut members: BTreeSet<&str> = BTreeSet::from([BLOCK_NUMBER]);
    for position in TABLE.iter().flat_map(|(_, positions, _)| *positions) {
        if let Position::Member { name, .. } = position {
            members.insert(name);
        }
    }
    assert_eq!(members, BTreeSet::from(MEMBERS));
}

#[test]
fn the_table_has_the_parameter_names_of_the_file() {
    let mut lines = NAMES_CSV.lines();
    assert_eq!(lines.next(), Some("method,names,source"));
    let mut expected = BTreeMap::new();
    let mut all = BTreeSet::new();
    for line in lines {
        let cells = cells(line);
        let [method, names, _] = &cells[..] else { panic!("{line}") };
        all.extend(names.split(' ').map(str::to_owned));
        assert_eq!(expected.insert(method.clone(), names.clone()), None, "{method} twice");
        assert!(parameter_names(method).eq(names.split(' ')), "{method}");
    }
    let named = TABLE.iter().filter(|(.., names)| !names.is_empty());
    let actual: BTreeMap<_, _> =
        named.map(|(method, _, names)| ((*method).to_owned(), (*names).to_owned())).collect();
    assert_eq!(actual, expected);
    assert!(all.iter().eq(NAMES));
}
