//! A strict, incremental JSON scanner without recursion. It accepts the bytes in chunks of any
//! size.
//!
//! It keeps one state and one byte for each open container, whatever the input, and reports tokens
//! by their offsets; keeping the bytes is up to the caller. The grammar is that of RFC 8259. Inside
//! strings, escapes must be well formed and control characters are rejected, but lone surrogates
//! and bytes that are not UTF-8 are accepted: nodes differ in that, and neither can be part of a
//! tag.

use wide::u8x16;

/// A kind of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// A token by its offsets in the input: first byte and one past the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A contiguous part of the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) bytes: &'a [u8],
    /// The offset of the first of them in the input.
    pub(super) start: usize,
}

impl<'a> Window<'a> {
    /// The bytes of a token; `None` if it is not completely in the window.
    pub(super) fn get(self, span: Span) -> Option<&'a [u8]> {
        let start = span.start.checked_sub(self.start)?;
        self.bytes.get(start..span.end - self.start)
    }
}

/// A string token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    /// The token, including the quotes.
    pub(super) span: Span,
    /// Whether it contains an escape.
    pub(super) escaped: bool,
}

impl Text {
    /// The bytes between the quotes; `None` if they are not completely in the window.
    pub(super) fn raw(self, window: Window<'_>) -> Option<&[u8]> {
        let token = window.get(self.span)?;
        token.get(1..token.len().checked_sub(1)?)
    }
}

/// A token that is incomplete at the end of the bytes so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutToken {
    /// The offset of its first byte.
    pub(super) start: usize,
    /// Whether it is a string that is a value, rather than a name, a number or a literal.
    pub(super) value: bool,
}

/// Receives the tokens.
pub(super) trait Tokens {
    /// A container opens.
    fn open(&mut self, container: Container);
    /// The innermost container closes; `end` is the offset after it.
    fn close(&mut self, end: usize);
    /// The name of a member.
    fn name(&mut self, text: Text);
    /// A string that is a value.
    fn string(&mut self, text: Text);
    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self, span: Span);
}

/// Why scanning stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The input is not JSON.
    Syntax,
    /// More containers are open than allowed.
    TooDeep,
}

/// What may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value.
    Value,
    /// A value, or the end of an empty array.
    FirstElement,
    /// A name, or the end of an empty object.
    FirstName,
    /// A name.
    Name,
    /// The colon after a name.
    Colon,
    /// A comma or the end of the innermost container.
    AfterValue,
    /// Nothing but white space.
    Done,
    /// Inside a string.
    Text,
    /// The character after a backslash.
    Escape,
    /// This many more hex digits of a `\u` escape.
    Hex(u8),
    /// Inside a number.
    Number(Number),
    /// Inside `true`, `false` or `null`, of which this remains.
    Literal(&'static [u8]),
}

/// The position inside a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    /// After the minus: a digit must follow.
    Minus,
    /// After a leading zero.
    Zero,
    /// In the integer digits.
    Integer,
    /// After the point: a digit must follow.
    Point,
    /// In the digits of the fraction.
    Fraction,
    /// After the `e`: a sign or a digit must follow.
    Exponent,
    /// After the sign of the exponent: a digit must follow.
    ExponentSign,
    /// In the digits of the exponent.
    ExponentDigits,
}

impl Number {
    /// The position after one more byte; `None` if the byte is not part of the number.
    const fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Some(Self::ExponentDigits)
            }
            _ => None,
        }
    }

    /// Whether the number may end here.
    const fn is_complete(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits)
    }
}

/// The scanner. Call [`Scanner::feed`] with the chunks in order, then [`Scanner::finish`].
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// Open containers, outermost first.
    open: Vec<Container>,
    max_depth: usize,
    /// Length of the earlier chunks.
    consumed: usize,
    /// Offset of the current token.
    token: usize,
    /// Whether the current string has an escape.
    escaped: bool,
    /// Whether the current string is a name.
    name: bool,
}

impl Scanner {
    /// A scanner that fails when more than `max_depth` containers are open.
    pub(super) const fn new(max_depth: usize) -> Self {
        Self {
            state: State::Value,
            open: Vec::new(),
            max_depth,
            consumed: 0,
            token: 0,
            escaped: false,
            name: false,
        }
    }

    /// Scans the next chunk.
    ///
    /// # Errors
    /// [`Fault`] at the first byte that is not valid JSON or exceeds the depth. Do not call it
    /// again after that.
    pub(super) fn feed(&mut self, chunk: &[u8], tokens: &mut impl Tokens) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            match self.state {
                State::Value | State::FirstElement => match byte {
                    b'"' => {
                        self.begin_text(at, false);
                        at = self.text(chunk, at + 1, tokens)?;
                        continue;
                    }
                    b'{' => self.open(Container::Object, tokens)?,
                    b'[' => self.open(Container::Array, tokens)?,
                    b']' if self.state == State::FirstElement => {
                        self.close(Container::Array, at, tokens)?;
                    }
                    b'-' => self.begin(at, State::Number(Number::Minus)),
                    b'0' => self.begin(at, State::Number(Number::Zero)),
                    b'1'..=b'9' => self.begin(at, State::Number(Number::Integer)),
                    b't' => self.begin(at, State::Literal(b"rue")),
                    b'f' => self.begin(at, State::Literal(b"alse")),
                    b'n' => self.begin(at, State::Literal(b"ull")),
                    _ => white_space(byte)?,
                },
                State::Name | State::FirstName => match byte {
                    b'"' => {
                        self.begin_text(at, true);
                        at = self.text(chunk, at + 1, tokens)?;
                        continue;
                    }
                    b'}' if self.state == State::FirstName => {
                        self.close(Container::Object, at, tokens)?;
                    }
                    _ => white_space(byte)?,
                },
                State::Colon => match byte {
                    b':' => self.state = State::Value,
                    _ => white_space(byte)?,
                },
                State::AfterValue => match byte {
                    b',' => {
                        self.state = match self.open.last() {
                            Some(Container::Object) => State::Name,
                            _ => State::Value,
                        };
                    }
                    b'}' => self.close(Container::Object, at, tokens)?,
                    b']' => self.close(Container::Array, at, tokens)?,
                    _ => white_space(byte)?,
                },
                State::Done => white_space(byte)?,
                State::Text => {
                    at = self.text(chunk, at, tokens)?;
                    continue;
                }
                State::Escape => {
                    self.state = match byte {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text,
                        b'u' => State::Hex(4),
                        _ => return Err(Fault::Syntax),
                    };
                }
                State::Hex(left) => {
                    if !byte.is_ascii_hexdigit() {
                        return Err(Fault::Syntax);
                    }
                    self.state = if left > 1 { State::Hex(left - 1) } else { State::Text };
                }
                State::Number(number) => match number.next(byte) {
                    Some(next) => self.state = State::Number(next),
                    None if number.is_complete() => {
                        self.end_scalar(at, tokens);
                        continue;
                    }
                    None => return Err(Fault::Syntax),
                },
                State::Literal(rest) => match rest.split_first() {
                    Some((&expected, rest)) if byte == expected => {
                        self.state = State::Literal(rest);
                    }
                    Some(_) => return Err(Fault::Syntax),
                    None => {
                        self.end_scalar(at, tokens);
                        continue;
                    }
                },
            }
            at += 1;
        }
        self.consumed += chunk.len();
        Ok(())
    }

    /// Ends the input.
    ///
    /// # Errors
    /// [`Fault::Syntax`] if the value is incomplete.
    pub(super) fn finish(&mut self, tokens: &mut impl Tokens) -> Result<(), Fault> {
        match self.state {
            State::Number(number) if number.is_complete() => self.end_scalar(0, tokens),
            State::Literal([]) => self.end_scalar(0, tokens),
            _ => {}
        }
        if self.state == State::Done { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// The token that is incomplete at the end of the bytes so far.
    pub(super) const fn cut_token(&self) -> Option<CutToken> {
        let text = match self.state {
            State::Text | State::Escape | State::Hex(_) => true,
            State::Number(_) | State::Literal(_) => false,
            _ => return None,
        };
        Some(CutToken { start: self.token, value: text && !self.name })
    }

    /// Memory allocated, in bytes.
    pub(super) const fn memory(&self) -> usize {
        // Each takes one byte.
        self.open.capacity()
    }

    /// Starts a token at this offset of the chunk.
    const fn begin(&mut self, at: usize, state: State) {
        self.token = self.consumed + at;
        self.state = state;
    }

    const fn begin_text(&mut self, at: usize, name: bool) {
        self.name = name;
        self.escaped = false;
        self.begin(at, State::Text);
    }

    /// Continues inside a string at this offset of the chunk, and inside the strings that follow it
    /// directly, as most strings of a body do. Returns the offset where it stopped.
    fn text(&mut self, chunk: &[u8], at: usize, tokens: &mut impl Tokens) -> Result<usize, Fault> {
        let mut at = at;
        loop {
            at += plain_run(chunk.get(at..).unwrap_or_default());
            match chunk.get(at) {
                Some(b'"') => at += 1,
                Some(b'\\') => {
                    self.escaped = true;
                    self.state = State::Escape;
                    return Ok(at + 1);
                }
                Some(_) => return Err(Fault::Syntax),
                None => return Ok(at),
            }
            let span = Span { start: self.token, end: self.consumed + at };
            let text = Text { span, escaped: self.escaped };
            let name = if self.name {
                tokens.name(text);
                self.state = State::Colon;
                match chunk.get(at) {
                    Some(b':') => false,
                    _ => return Ok(at),
                }
            } else {
                tokens.string(text);
                self.state = self.after_value();
                match (chunk.get(at), self.open.last()) {
                    (Some(b','), Some(container)) => *container == Container::Object,
                    _ => return Ok(at),
                }
            };
            at += 1;
            self.state = if name { State::Name } else { State::Value };
            if chunk.get(at) != Some(&b'"') {
                return Ok(at);
            }
            self.begin_text(at, name);
            at += 1;
        }
    }

    /// Ends a number or literal before this offset of the chunk.
    fn end_scalar(&mut self, at: usize, tokens: &mut impl Tokens) {
        tokens.scalar(Span { start: self.token, end: self.consumed + at });
        self.state = self.after_value();
    }

    fn open(&mut self, container: Container, tokens: &mut impl Tokens) -> Result<(), Fault> {
        if self.open.len() >= self.max_depth {
            return Err(Fault::TooDeep);
        }
        self.open.push(container);
        tokens.open(container);
        self.state = match container {
            Container::Object => State::FirstName,
            Container::Array => State::FirstElement,
        };
        Ok(())
    }

    fn close(
        &mut self,
        container: Container,
        at: usize,
        tokens: &mut impl Tokens,
    ) -> Result<(), Fault> {
        if self.open.pop() != Some(container) {
            return Err(Fault::Syntax);
        }
        tokens.close(self.consumed + at + 1);
        self.state = self.after_value();
        Ok(())
    }

    const fn after_value(&self) -> State {
        if self.open.is_empty() { State::Done } else { State::AfterValue }
    }
}

/// Accepts white space.
const fn white_space(byte: u8) -> Result<(), Fault> {
    match byte {
        b' ' | b'\t' | b'\n' | b'\r' => Ok(()),
        _ => Err(Fault::Syntax),
    }
}

const VECTOR: usize = 16;

/// Vectors of a string that are checked one by one before a search that only pays off on long
/// strings.
const SHORT: usize = 6;

/// How many bytes at the start are plain characters of a string.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    let (vectors, tail) = bytes.as_chunks::<VECTOR>();
    for (at, vector) in vectors.iter().take(SHORT).enumerate() {
        let special = special_bytes(u8x16::new(*vector));
        if special != 0 {
            return VECTOR * at + special.trailing_zeros() as usize;
        }
    }
    if vectors.len() < SHORT {
        return VECTOR * vectors.len() + tail.iter().take_while(|byte| !is_special(**byte)).count();
    }
    VECTOR * SHORT + long_plain_run(bytes.get(VECTOR * SHORT..).unwrap_or_default())
}

#[cold]
fn long_plain_run(bytes: &[u8]) -> usize {
    let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
    let run = bytes.get(..end).unwrap_or_default();
    if run.iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= 0x20 {
        return end;
    }
    run.iter().take_while(|byte| !is_special(**byte)).count()
}

const fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | ..0x20)
}

/// A bit for each byte that is a quote, a backslash or a control character, the lowest for the
/// first.
fn special_bytes(vector: u8x16) -> u32 {
    let quotes = vector.simd_eq(u8x16::splat(b'"'));
    let backslashes = vector.simd_eq(u8x16::splat(b'\\'));
    let controls = vector.simd_eq(vector.min(u8x16::splat(0x1f)));
    (quotes | backslashes | controls).to_bitmask()
}

#[cfg(test)]
mod tests;
