//! Puts many mutants into one source file, each behind a condition, so that one build serves them
//! all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    ops::Range,
};

use anyhow::{Context, Result};
use proc_macro2::{LineColumn, Span};
use syn::{
    Arm, BinOp, Block, Expr, ExprBinary, ExprMatch, ExprStruct, ExprUnary, ImplItemConst,
    ImplItemFn, ItemConst, ItemFn, ItemStatic, Pat, PatGuard, Signature, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::Mutant;

/// Appended to the root of a mutated crate. Each mutant calls it: one variable chooses a mutant,
/// another one a file that gets a line for each thread and mutant that it has come to. A test's
/// thread has its name.
pub(super) const CHOICE: &str = r#"
#[doc(hidden)]
pub fn __mutant(number: usize) -> bool {
    use std::{cell::RefCell, collections::BTreeSet, env, fs::File, io::Write, sync::LazyLock};
    static CHOSEN: LazyLock<Option<usize>> =
        LazyLock::new(|| env::var("MUTANT").ok()?.parse().ok());
    static REACHED: LazyLock<Option<File>> = LazyLock::new(|| {
        File::options().append(true).create(true).open(env::var_os("MUTANTS_REACHED")?).ok()
    });
    thread_local!(static SEEN: RefCell<BTreeSet<usize>> = RefCell::default());
    if let Some(mut file) = REACHED.as_ref() {
        let is_new = SEEN.try_with(|seen| seen.borrow_mut().insert(number));
        if is_new.unwrap_or(true) {
            let thread = std::thread::current();
            let line = format!("{} {number}\n", thread.name().unwrap_or("unknown"));
            let _ = file.write_all(line.as_bytes());
        }
    }
    *CHOSEN == Some(number)
}
"#;

/// The variable that chooses a mutant by its number.
pub(super) const CHOSEN: &str = "MUTANT";

/// The variable that names the file of what was reached.
pub(super) const REACHED: &str = "MUTANTS_REACHED";

/// A source file with those of its mutants that can stand behind a condition.
#[derive(Debug)]
pub(super) struct Embedded {
    pub(super) source: String,
    /// Their numbers.
    pub(super) numbers: Vec<usize>,
    /// The numbers of those that do not compile anywhere.
    pub(super) impossible: Vec<usize>,
}

/// Embeds the mutants of a file. Functions are no longer `const`, apart from those of `constant`.
///
/// # Errors
/// The file is not valid Rust.
pub(super) fn embed<'a>(
    source: &'a str,
    mutants: &BTreeMap<usize, &'a Mutant>,
    constant: &'a BTreeSet<String>,
) -> Result<Embedded> {
    let file = syn::parse_file(source)?;
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for (number, mutant) in mutants {
        let place = (mutant.genre.as_str(), mutant.span.start.line, mutant.span.start.column);
        places.entry(place).or_default().push((*number, mutant.replacement.as_str()));
    }
    let mut embedder = Embedder {
        source,
        places,
        edits: Vec::new(),
        numbers: Vec::new(),
        impossible: Vec::new(),
        constant,
    };
    embedder.visit_file(&file);
    let source = embedder.edited().context("an edit outside of the file")?;
    let Embedder { numbers, impossible, .. } = embedder;
    Ok(Embedded { source, numbers, impossible })
}

/// The numbers of the mutants that an error at that line may come from: those in it, or else those
/// of the construct that begins last before it.
pub(super) fn numbers_at(source: &str, line: usize) -> Vec<usize> {
    let before: Vec<&str> = source.lines().take(line).collect();
    let numbers = |line: &&str| -> Vec<usize> {
        let calls = line.split("__mutant(").skip(1);
        calls.filter_map(|rest| rest.split_once(')')?.0.parse().ok()).collect()
    };
    before.iter().rev().map(numbers).find(|numbers| !numbers.is_empty()).unwrap_or_default()
}

struct Embedder<'a> {
    source: &'a str,
    /// By kind and place: number and new text of each.
    places: BTreeMap<Key<'a>, Vec<Change<'a>>>,
    edits: Vec<Edit>,
    numbers: Vec<usize>,
    impossible: Vec<usize>,
    /// The names of functions that the compiler calls.
    constant: &'a BTreeSet<String>,
}

/// Kind, line and column.
type Key<'a> = (&'a str, usize, usize);

/// The number of a mutant and its text.
type Change<'a> = (usize, &'a str);

/// A change of the text.
struct Edit {
    range: Range<usize>,
    text: String,
    /// Whether it closes a construct.
    closes: bool,
}

impl<'a> Embedder<'a> {
    fn take(&mut self, genre: &'static str, start: LineColumn) -> Vec<Change<'a>> {
        self.places.remove(&(genre, start.line, start.column + 1)).unwrap_or_default()
    }

    fn text(&self, span: Span) -> &'a str {
        self.source.get(span.byte_range()).unwrap_or_default()
    }

    fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.edits.push(Edit { range, text: text.into(), closes: false });
    }

    fn open(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    fn close(&mut self, at: usize, text: impl Into<String>) {
        self.edits.push(Edit { range: at..at, text: text.into(), closes: true });
    }

    fn edited(&mut self) -> Option<String> {
        let mut edits = std::mem::take(&mut self.edits);
        // What ends at a place comes before what begins there. Otherwise their order is right.
        edits.sort_by_key(|edit| (edit.range.start, !edit.closes));
        let mut text = String::new();
        let mut done = 0;
        for Edit { range, text: new, .. } in edits {
            text.push_str(self.source.get(done..range.start)?);
            text.push_str(&new);
            done = range.end;
        }
        text.push_str(self.source.get(done..)?);
        Some(text)
    }

    /// `if` each mutant `{ … } else` the original, one per line, so that errors name the mutant.
    fn alternatives(
        &mut self,
        mutants: &[Change<'_>],
        operation: impl Fn(&str) -> String,
        original: &str,
    ) -> String {
        let mut text = String::new();
        for (number, new) in mutants {
            self.numbers.push(*number);
            let _ = writeln!(text, "\nif crate::__mutant({number}) {{ {} }} else", operation(new));
        }
        let _ = write!(text, "{{ {} }}", operation(original));
        text
    }

    /// Puts a return of each other value before the body. Whether mutants can be in the function:
    /// not in one that the compiler calls.
    fn function(&mut self, signature: &Signature, body: Option<&Block>) -> bool {
        if let Some(constness) = &signature.constness {
            if self.constant.contains(&signature.ident.to_string()) {
                return false;
            }
            self.replace(constness.span().byte_range(), "");
        }
        let Some((block, first)) = body.and_then(|block| Some((block, block.stmts.first()?)))
        else {
            return true;
        };
        let mut text = String::new();
        let values = self.take("FnValue", first.span().start());
        // Beside the body, each value would need to be of its type, which has no name.
        let is_unnamed = self.text(signature.output.span()).contains("impl ");
        for (number, value) in values.into_iter().filter(|_| !is_unnamed) {
            self.numbers.push(number);
            let _ = write!(text, "\nif crate::__mutant({number}) {{ return {value}; }}");
        }
        if !text.is_empty() {
            text.push('\n');
            self.open(block.brace_token.span.open().byte_range().end, text);
        }
        true
    }

    /// `+=` and the like.
    fn assignment(&mut self, binary: &ExprBinary, mutants: &[Change<'_>]) {
        let (left, right) = (binary.left.span(), binary.right.span().byte_range());
        let target = self.text(left);
        let operation = |operator: &str| format!("{target} {operator} __right");
        let choice = self.alternatives(mutants, operation, self.text(binary.op.span()));
        self.replace(
            left.byte_range().start..right.start,
            format!("(match {}\n(", mentions(mutants)),
        );
        self.visit_expr(&binary.right);
        self.close(right.end, format!(") {{ __right => {choice} }})"));
    }

    /// `&&` and `||`: the right side counts for one value of the left side, and each is the other
    /// with that value turned round.
    fn lazy(&mut self, binary: &ExprBinary, mutants: &[Change<'_>]) {
        let [(number, _)] = mutants else { return visit::visit_expr_binary(self, binary) };
        self.numbers.push(*number);
        let sign = if matches!(binary.op, BinOp::And(_)) { "!=" } else { "==" };
        let (left, right) = (binary.left.span().byte_range(), binary.right.span().byte_range());
        self.open(left.start, "({ let __left = ");
        self.replace(
            left.end..right.start,
            format!(";\nif __left {sign} crate::__mutant({number}) {{ "),
        );
        self.visit_expr(&binary.left);
        self.visit_expr(&binary.right);
        self.close(right.end, " } else { __left } })");
    }

    fn operation(&mut self, binary: &ExprBinary, mutants: &[Change<'_>]) {
        let by_reference = matches!(
            binary.op,
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
        );
        let (take, of) = if by_reference { ("&", "*") } else { ("", "") };
        let operation = |operator: &str| format!("{of}__left {operator} {of}__right");
        let choice = self.alternatives(mutants, operation, self.text(binary.op.span()));
        let (left, right) = (binary.left.span().byte_range(), binary.right.span().byte_range());
        self.open(left.start, format!("(match {}\n({take}(", mentions(mutants)));
        self.replace(left.end..right.start, format!("), {take}("));
        visit::visit_expr_binary(self, binary);
        self.close(right.end, format!(")) {{ (__left, __right) => {choice} }})"));
    }

    /// An arm without its guard, with a false one, or without itself.
    fn guard(&mut self, arm: &Arm, guard: &Expr) {
        let mut conditions = String::new();
        if let [(number, _)] = self.take("MatchArm", arm.span().start()).as_slice() {
            self.numbers.push(*number);
            let _ = write!(conditions, "\n!crate::__mutant({number}) && ");
        }
        let mut ends = String::from(")");
        for (number, value) in self.take("MatchArmGuard", guard.span().start()) {
            self.numbers.push(number);
            let (sign, operator) = if value == "true" { ("", "||") } else { ("!", "&&") };
            let _ = write!(conditions, "(\n{sign}crate::__mutant({number}) {operator} ");
            ends.push(')');
        }
        let range = guard.span().byte_range();
        self.open(range.start, format!("{conditions}("));
        visit::visit_arm(self, arm);
        self.close(range.end, ends);
    }
}

/// A comment with the numbers, for errors in what the alternatives have in common.
fn mentions(mutants: &[Change<'_>]) -> String {
    let numbers: String =
        mutants.iter().map(|(number, _)| format!("__mutant({number}) ")).collect();
    format!("/* {numbers}*/")
}

impl<'ast> Visit<'ast> for Embedder<'_> {
    fn visit_item_const(&mut self, _: &'ast ItemConst) {}

    fn visit_item_static(&mut self, _: &'ast ItemStatic) {}

    fn visit_impl_item_const(&mut self, _: &'ast ImplItemConst) {}

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if self.function(&item.sig, Some(&item.block)) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if self.function(&item.sig, Some(&item.block)) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if self.function(&item.sig, item.default.as_ref()) {
            visit::visit_trait_item_fn(self, item);
        }
    }

    fn visit_expr_match(&mut self, item: &'ast ExprMatch) {
        let takes_rest = |arm: &Arm| match &arm.pat {
            Pat::Ident(pattern) => pattern.ident.to_string().starts_with(char::is_lowercase),
            pattern => matches!(pattern, Pat::Wild(_)),
        };
        if !item.arms.iter().any(takes_rest) {
            for arm in &item.arms {
                self.take("MatchArm", arm.span().start());
            }
        }
        visit::visit_expr_match(self, item);
    }

    /// The same without a field, which is then that of the rest.
    fn visit_expr_struct(&mut self, item: &'ast ExprStruct) {
        let range = item.span().byte_range();
        let mut alternatives = String::new();
        for field in item.fields.pairs() {
            let place = field.value().span();
            if let [(number, _)] = self.take("StructField", place.start()).as_slice() {
                self.numbers.push(*number);
                let end = field.punct().map_or(place, Spanned::span).byte_range().end;
                let before = self.source.get(range.start..place.byte_range().start);
                let after = self.source.get(end..range.end);
                let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
                let _ = writeln!(
                    alternatives,
                    "\nif crate::__mutant({number}) {{ {before}{after} }} else"
                );
            }
        }
        if alternatives.is_empty() {
            return visit::visit_expr_struct(self, item);
        }
        self.open(range.start, format!("({alternatives}{{ "));
        visit::visit_expr_struct(self, item);
        self.close(range.end, " })");
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        let mutants = self.take("BinaryOperator", binary.op.span().start());
        match (&binary.op, mutants.as_slice()) {
            (_, []) => visit::visit_expr_binary(self, binary),
            (BinOp::And(_), [(number, _)]) if has_let(&binary.left) || has_let(&binary.right) => {
                // There is no `||` beside `let`.
                self.impossible.push(*number);
                visit::visit_expr_binary(self, binary);
            }
            (BinOp::And(_) | BinOp::Or(_), mutants) => self.lazy(binary, mutants),
            (
                BinOp::AddAssign(_)
                | BinOp::SubAssign(_)
                | BinOp::MulAssign(_)
                | BinOp::DivAssign(_)
                | BinOp::RemAssign(_)
                | BinOp::BitAndAssign(_)
                | BinOp::BitOrAssign(_)
                | BinOp::BitXorAssign(_)
                | BinOp::ShlAssign(_)
                | BinOp::ShrAssign(_),
                mutants,
            ) => self.assignment(binary, mutants),
            (_, mutants) => self.operation(binary, mutants),
        }
    }

    fn visit_expr_unary(&mut self, unary: &'ast ExprUnary) {
        let operator = unary.op.span();
        let mutants = self.take("UnaryOperator", operator.start());
        let [(number, _)] = mutants.as_slice() else {
            return visit::visit_expr_unary(self, unary);
        };
        let choice =
            self.alternatives(&mutants, |operator| format!("{operator}__it"), self.text(operator));
        self.replace(operator.byte_range(), format!("(match /* __mutant({number}) */\n("));
        visit::visit_expr_unary(self, unary);
        self.close(unary.expr.span().byte_range().end, format!(") {{ __it => {choice} }})"));
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        match &arm.pat {
            Pat::Guard(PatGuard { guard, .. }) if !has_let(guard) => self.guard(arm, guard),
            Pat::Guard(_) => visit::visit_arm(self, arm),
            pattern => {
                let deleted = self.take("MatchArm", arm.span().start());
                if let [(number, _)] = deleted.as_slice() {
                    self.numbers.push(*number);
                    let end = pattern.span().byte_range().end;
                    self.close(end, format!(" if\n!crate::__mutant({number})"));
                }
                visit::visit_arm(self, arm);
            }
        }
    }
}

fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(ExprBinary { left, op: BinOp::And(_), right, .. }) => {
            has_let(left) || has_let(right)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tool::{Place, Span},
        *,
    };

    /// The text between the lines of a function, with the mutants of one kind at a place, and
    /// every space squeezed.
    fn embedded(body: &str, genre: &str, column: usize, replacements: &[&str]) -> Embedded {
        let mutant = |replacement: &&str| Mutant {
            name: String::new(),
            file: String::new(),
            package: String::new(),
            genre: genre.to_owned(),
            replacement: (*replacement).to_owned(),
            span: Span { start: Place { line: 2, column } },
            function: None,
        };
        let mutants: Vec<_> = replacements.iter().map(mutant).collect();
        let source = format!("const fn f() -> bool {{\n{body}\n}}");
        let numbered = mutants.iter().enumerate().collect();
        let mut embedded = embed(&source, &numbered, &BTreeSet::new()).unwrap();
        syn::parse_file(&embedded.source).unwrap();
        let words: Vec<_> = embedded.source.split_whitespace().collect();
        embedded.source = words.join(" ").replace("crate::__mutant", "m");
        embedded
    }

    #[test]
    fn each_kind_of_mutant_stands_behind_its_condition() {
        for (body, genre, column, replacements, expected) in [
            (
                "a",
                "FnValue",
                1,
                &["true", "false"][..],
                "if m(0) { return true; } if m(1) { return false; } a",
            ),
            (
                "a < b",
                "BinaryOperator",
                3,
                &["==", ">"],
                "(match /* __mutant(0) __mutant(1) */ (&(a), &(b)) { (__left, __right) => \
                 if m(0) { *__left == *__right } else if m(1) { *__left > *__right } else \
                 { *__left < *__right } })",
            ),
            (
                "a + b",
                "BinaryOperator",
                3,
                &["-"],
                "(match /* __mutant(0) */ ((a), (b)) { (__left, __right) => \
                 if m(0) { __left - __right } else { __left + __right } })",
            ),
            (
                "a && b",
                "BinaryOperator",
                3,
                &["||"],
                "({ let __left = a; if __left != m(0) { b } else { __left } })",
            ),
            (
                "a || b",
                "BinaryOperator",
                3,
                &["&&"],
                "({ let __left = a; if __left == m(0) { b } else { __left } })",
            ),
            (
                "a += b;",
                "BinaryOperator",
                3,
                &["-="],
                "(match /* __mutant(0) */ (b) { __right => if m(0) { a -= __right } else \
                 { a += __right } });",
            ),
            (
                "!a",
                "UnaryOperator",
                1,
                &[""],
                "(match /* __mutant(0) */ (a) { __it => if m(0) { __it } else { !__it } })",
            ),
            (
                "match a { 1 => b, _ => c }",
                "MatchArm",
                11,
                &[""],
                "match a { 1 if !m(0) => b, _ => c }",
            ),
            (
                "match a { x if x => b, _ => c }",
                "MatchArmGuard",
                16,
                &["true", "false"],
                "match a { x if ( m(0) || ( !m(1) && (x))) => b, _ => c }",
            ),
            (
                "S { a, b: 1, ..c }",
                "StructField",
                8,
                &[""],
                "( if m(0) { S { a, ..c } } else { S { a, b: 1, ..c } })",
            ),
        ] {
            let found = embedded(body, genre, column, replacements);
            assert_eq!(found.source, format!("fn f() -> bool {{ {expected} }}"), "{body}");
            assert_eq!(found.numbers.len(), replacements.len());
        }
    }

    #[test]
    fn what_cannot_stand_behind_a_condition_is_left_out() {
        let found = embedded("if a && let b = c { }", "BinaryOperator", 6, &["||"]);
        assert_eq!((found.numbers, found.impossible), (vec![], vec![0]));
        let found = embedded("match a { None => b, Some(_) => c }", "MatchArm", 11, &[""]);
        assert_eq!((found.numbers, found.impossible), (vec![], vec![]));
    }

    #[test]
    fn an_error_names_the_mutants_of_its_line_or_before() {
        let source = "f(\n/* __mutant(1) __mutant(2) */\na,\nif crate::__mutant(3) {} else {}";
        assert!(numbers_at(source, 1).is_empty());
        assert_eq!(numbers_at(source, 2), [1, 2]);
        assert_eq!(numbers_at(source, 3), [1, 2]);
        assert_eq!(numbers_at(source, 4), [3]);
    }
}
