//! A second, naive implementation of the rewriting rules on values that `serde_json` has parsed,
//! and a writer that spells such values as JSON in unusual ways.

use std::fmt::{self, Write as _};

use finality_core::{
    methods::{Position, parameter_names},
    refusal::Refusal,
    rewrite::{Rules, Scope},
};
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};

/// A JSON value that keeps order and duplicates of members.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// A number, `true`, `false` or `null`. A parsed number is spelled as serde_json writes it.
    Scalar(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// The verdict of the rules on a body.
#[derive(Debug)]
pub(crate) enum Verdict {
    Untouched,
    Tagged {
        rewritten: Node,
        tags: usize,
        /// The ids of the response that refuses it.
        ids: Vec<Node>,
    },
    Refused {
        refusal: Refusal,
        ids: Vec<Node>,
    },
    /// Nested too deep. Without a tag it depends on the prefilter whether it is refused.
    TooDeep {
        tags: bool,
        ids: Vec<Node>,
    },
}

pub(crate) fn verdict(node: &Node, rules: &Rules, number: u64) -> Verdict {
    let mut rewritten = node.clone();
    let (requests, length) = match &mut rewritten {
        Node::Array(elements) => {
            let length = elements.len();
            (elements.iter_mut().collect(), length)
        }
        other => (vec![other], 0),
    };
    let (mut tags, mut ambiguous, mut ids) = (0, false, Vec::new());
    for request in requests {
        let Node::Object(members) = request else { continue };
        ids.extend(members.iter().rfind(|(name, _)| folds(name, "id")).map(|(_, id)| match id {
            Node::Array(_) | Node::Object(_) => Node::Scalar("null".to_owned()),
            id => id.clone(),
        }));
        let mut methods: Vec<String> = members
            .iter()
            .filter(|(name, _)| folds(name, "method"))
            .filter_map(|(_, method)| match method {
                Node::String(method) => Some(method.clone()),
                _ => None,
            })
            .collect();
        if methods.is_empty() {
            methods.push(String::new());
        }
        let mut outcomes: Vec<(Node, usize)> = Vec::new();
        let mut spelled = 0;
        for method in &methods {
            let mut attempt = Node::Object(members.clone());
            let Node::Object(copy) = &mut attempt else { unreachable!() };
            let mut replaced = 0;
            for (_, params) in copy.iter_mut().filter(|(name, _)| folds(name, "params")) {
                spelled = spelled.max(replace_everywhere(&mut params.clone(), rules, number));
                replaced += replace_in_params(params, method, rules, number);
            }
            outcomes.push((attempt, replaced));
        }
        ambiguous |=
            spelled > 0 && !methods.iter().all(|method| are_alike(method, &methods[0], rules));
        let (outcome, replaced) = outcomes.swap_remove(0);
        *request = outcome;
        tags += replaced;
    }
    if depth(node) > rules.max_depth {
        Verdict::TooDeep { tags: tags > 0, ids }
    } else if ambiguous {
        Verdict::Refused { refusal: Refusal::AmbiguousMethod, ids }
    } else if tags == 0 {
        Verdict::Untouched
    } else if length > rules.max_batch_length {
        let refusal = Refusal::BatchTooLong { limit: rules.max_batch_length };
        Verdict::Refused { refusal, ids }
    } else {
        Verdict::Tagged { rewritten, tags, ids }
    }
}

/// Whether Go takes the name for the field.
fn folds(name: &str, field: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(field.chars().map(fold))
}

/// Whether the text is a tag in any case.
pub(crate) fn is_tag(text: &str, rules: &Rules) -> bool {
    rules.tags.iter().any(|tag| tag.eq_ignore_ascii_case(text))
}

fn replace(node: &mut Node, rules: &Rules, number: u64) -> usize {
    match node {
        Node::String(text) if is_tag(text, rules) => {
            *text = format!("0x{number:x}");
            1
        }
        _ => 0,
    }
}

fn replace_everywhere(node: &mut Node, rules: &Rules, number: u64) -> usize {
    match node {
        Node::Array(elements) => {
            elements.iter_mut().map(|element| replace_everywhere(element, rules, number)).sum()
        }
        Node::Object(members) => {
            members.iter_mut().map(|(_, value)| replace_everywhere(value, rules, number)).sum()
        }
        leaf => replace(leaf, rules, number),
    }
}

/// Whether all parameters of two methods are treated in the same way.
fn are_alike(one: &str, other: &str, rules: &Rules) -> bool {
    match rules.scope {
        Scope::Params => rules.excluded.contains(one) == rules.excluded.contains(other),
        Scope::BlockParameters => {
            let (positions, others) = (positions(one, rules), positions(other, rules));
            positions == others
                && (positions.is_empty() || parameter_names(one).eq(parameter_names(other)))
        }
    }
}

/// The positions of a method, none if the operator excludes it.
fn positions<'a>(method: &str, rules: &'a Rules) -> &'a [Position] {
    // Without the default list, only what the operator excludes is left.
    let by_operator = method.starts_with(crate::generator::EXCLUDED)
        && rules.excluded.contains(crate::generator::EXCLUDED);
    if by_operator { &[] } else { rules.block_parameters.positions(method) }
}

fn replace_in_params(params: &mut Node, method: &str, rules: &Rules, number: u64) -> usize {
    if rules.scope == Scope::Params {
        let excluded = rules.excluded.contains(method);
        return if excluded { 0 } else { replace_everywhere(params, rules, number) };
    }
    let positions = positions(method, rules);
    if positions.is_empty() {
        return 0;
    }
    match params {
        Node::Array(parameters) => parameters
            .iter_mut()
            .enumerate()
            .map(|(index, parameter)| {
                let here: Vec<_> = positions.iter().filter(|at| at.index() == index).collect();
                replace_parameter(parameter, &here, rules, number)
            })
            .sum(),
        Node::Object(parameters) => parameters
            .iter_mut()
            .map(|(name, parameter)| {
                let known = parameter_names(method)
                    .position(|known| name == known || *name == camel_case(known));
                match (known, parameter) {
                    (Some(index), parameter) => {
                        let here: Vec<_> =
                            positions.iter().filter(|at| at.index() == index).collect();
                        replace_parameter(parameter, &here, rules, number)
                    }
                    (None, Node::String(text)) if is_tag(text, rules) => {
                        *text = format!("0x{number:x}");
                        1
                    }
                    (None, parameter) => replace_parameter(
                        parameter,
                        &positions.iter().collect::<Vec<_>>(),
                        rules,
                        number,
                    ),
                }
            })
            .sum(),
        _ => 0,
    }
}

/// `block_number` as `blockNumber`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

/// Replaces what is at one of these positions of a parameter, whatever their index.
fn replace_parameter(
    node: &mut Node,
    positions: &[&Position],
    rules: &Rules,
    number: u64,
) -> usize {
    // Positions may overlap; what has been replaced is no tag any more.
    positions
        .iter()
        .map(|position| match (position, &mut *node) {
            (Position::Parameter { object, .. }, node) => {
                replace_block(node, *object, rules, number)
            }
            (Position::Member { name, object, .. }, Node::Object(members)) => members
                .iter_mut()
                .filter(|(member, _)| folds(member, name))
                .map(|(_, value)| replace_block(value, *object, rules, number))
                .sum(),
            _ => 0,
        })
        .sum()
}

/// Replaces a tag, or that of an EIP-1898 object if one is allowed here.
fn replace_block(node: &mut Node, object: bool, rules: &Rules, number: u64) -> usize {
    match node {
        Node::Object(members) if object => members
            .iter_mut()
            .filter(|(name, _)| folds(name, "blockNumber"))
            .map(|(_, value)| replace(value, rules, number))
            .sum(),
        node => replace(node, rules, number),
    }
}

fn depth(node: &Node) -> usize {
    match node {
        Node::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Node::Object(members) => {
            1 + members.iter().map(|(_, value)| depth(value)).max().unwrap_or(0)
        }
        _ => 0,
    }
}

/// The ids of a JSON-RPC response. An empty response has none.
pub(crate) fn ids_of_answer(answer: &[u8]) -> Vec<Node> {
    if answer.is_empty() {
        return Vec::new();
    }
    let answers = match serde_json::from_slice(answer).unwrap() {
        Node::Array(answers) => answers,
        answer => vec![answer],
    };
    let id = |answer| match answer {
        Node::Object(members) => {
            members.into_iter().find(|(name, _)| name == "id").map(|(_, id)| id).unwrap()
        }
        other => panic!("{other:?}"),
    };
    answers.into_iter().map(id).collect()
}

/// Splits JSON into strings and other single bytes.
pub(crate) fn tokens(json: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = json;
    while !rest.is_empty() {
        let mut length = 1;
        if rest.starts_with('"') {
            let bytes = rest.as_bytes();
            while bytes[length] != b'"' {
                length += if bytes[length] == b'\\' { 2 } else { 1 };
            }
            length += 1;
        }
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// Writes a value as JSON, with escapes and white space chosen by the seed.
pub(crate) fn spell(node: &Node, seed: u64) -> String {
    let mut speller = Speller { out: String::new(), state: seed | 1 };
    speller.white_space();
    speller.node(node);
    speller.white_space();
    speller.out
}

struct Speller {
    out: String,
    state: u64,
}

impl Speller {
    /// A pseudo-random number below `bound` (xorshift).
    fn choose(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn white_space(&mut self) {
        while self.choose(4) == 0 {
            let white = [" ", "\t", "\n", "\r", "    "][self.choose(5) as usize];
            self.out.push_str(white);
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Scalar(text) => self.out.push_str(text),
            Node::String(text) => self.string(text),
            Node::Array(elements) => {
                self.list('[', elements, ']', |speller, element| speller.node(element));
            }
            Node::Object(members) => self.list('{', members, '}', |speller, (name, value)| {
                speller.string(name);
                speller.white_space();
                speller.out.push(':');
                speller.white_space();
                speller.node(value);
            }),
        }
    }

    fn list<T>(
        &mut self,
        open: char,
        items: &[T],
        close: char,
        mut item: impl FnMut(&mut Self, &T),
    ) {
        self.out.push(open);
        self.white_space();
        for (at, one) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
                self.white_space();
            }
            item(self, one);
            self.white_space();
        }
        self.out.push(close);
    }

    fn string(&mut self, text: &str) {
        let escape_often = self.choose(3) == 0;
        self.out.push('"');
        for character in text.chars() {
            let must = character < ' ' || matches!(character, '"' | '\\');
            let short = match character {
                '"' | '\\' | '/' => Some(character),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            let escape = must || (escape_often && self.choose(3) == 0);
            if !escape {
                self.out.push(character);
            } else if let Some(short) = short
                && self.choose(2) == 0
            {
                self.out.extend(['\\', short]);
            } else {
                let upper = self.choose(2) == 0;
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = if upper {
                        write!(self.out, "\\u{unit:04X}")
                    } else {
                        write!(self.out, "\\u{unit:04x}")
                    };
                }
            }
        }
        self.out.push('"');
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar("null".to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Node::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }
}
