//! An incremental JSON scanner: strict, without recursion, fed with any cut of the bytes.
//!
//! It holds one state and one byte per open container, whatever the input, and reports tokens by their
//! position; where the bytes are kept is its caller's affair. The grammar is that of RFC 8259. Inside
//! strings it judges only what ends or breaks one: escapes must be well formed and control characters
//! are refused, but lone surrogates and bytes that are not UTF-8 pass, since nodes differ about them and
//! neither can be part of a tag.

/// A kind of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// A token by its place in the input: first byte and one past the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// The token's bytes in the body that was scanned.
    pub(super) fn of(self, body: &[u8]) -> &[u8] {
        body.get(self.start..self.end).unwrap_or_default()
    }
}

/// A string token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    /// The token, quotes included.
    pub(super) span: Span,
    /// Whether there is an escape in it.
    pub(super) escaped: bool,
}

impl Text {
    /// What stands between the quotes.
    pub(super) fn raw(self, body: &[u8]) -> &[u8] {
        body.get(self.span.start + 1..self.span.end - 1).unwrap_or_default()
    }
}

/// What receives the tokens.
pub(super) trait Tokens {
    /// A container opens.
    fn open(&mut self, container: Container);
    /// The innermost container closes.
    fn close(&mut self);
    /// A member's name.
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
    /// More containers are open than the limit allows.
    TooDeep,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value.
    Value,
    /// A value, or the end of an array that is still empty.
    FirstElement,
    /// A name, or the end of an object that is still empty.
    FirstName,
    /// A name.
    Name,
    /// The colon after a name.
    Colon,
    /// A comma or the end of the innermost container.
    AfterValue,
    /// Nothing but white space.
    Done,
    /// Inside a string: characters or its end.
    Text,
    /// The character after a backslash.
    Escape,
    /// So many more hex digits of a `\u` escape.
    Hex(u8),
    /// Inside a number.
    Number(Number),
    /// Inside `true`, `false` or `null`: the rest of it.
    Literal(&'static [u8]),
}

/// The place inside a number.
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
    /// The place after one more byte; `None` when the byte is not part of the number.
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

/// The scanner. Feed it chunks in order, then [`Scanner::finish`].
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// Open containers, outermost first.
    open: Vec<Container>,
    max_depth: usize,
    /// Bytes of earlier chunks.
    consumed: usize,
    /// First byte of the token that is being read.
    token: usize,
    /// Whether the string that is being read has an escape.
    escaped: bool,
    /// Whether the string that is being read is a name.
    name: bool,
}

impl Scanner {
    /// A scanner that stops when more than `max_depth` containers are open.
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

    /// Reads the next chunk.
    ///
    /// # Errors
    /// [`Fault`] at the first byte that cannot be part of JSON within the limit. Nothing may be fed after it.
    pub(super) fn feed(&mut self, chunk: &[u8], tokens: &mut impl Tokens) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            let position = self.consumed + at;
            match self.state {
                State::Text => {
                    at += plain_run(chunk.get(at..).unwrap_or_default());
                    match chunk.get(at) {
                        None => break,
                        Some(b'"') => self.end_text(self.consumed + at + 1, tokens),
                        Some(b'\\') => {
                            self.escaped = true;
                            self.state = State::Escape;
                        }
                        Some(_) => return Err(Fault::Syntax),
                    }
                    at += 1;
                }
                State::Number(number) => match number.next(byte) {
                    Some(next) => {
                        self.state = State::Number(next);
                        at += 1;
                    }
                    None if number.is_complete() => self.end_scalar(position, tokens),
                    None => return Err(Fault::Syntax),
                },
                State::Literal(rest) => {
                    let Some((&expected, rest)) = rest.split_first() else {
                        self.end_scalar(position, tokens);
                        continue;
                    };
                    if byte != expected {
                        return Err(Fault::Syntax);
                    }
                    self.state = State::Literal(rest);
                    at += 1;
                }
                State::Escape => {
                    self.state = match byte {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text,
                        b'u' => State::Hex(4),
                        _ => return Err(Fault::Syntax),
                    };
                    at += 1;
                }
                State::Hex(left) => {
                    if !byte.is_ascii_hexdigit() {
                        return Err(Fault::Syntax);
                    }
                    self.state = if left > 1 { State::Hex(left - 1) } else { State::Text };
                    at += 1;
                }
                _ => {
                    self.structure(byte, position, tokens)?;
                    at += 1;
                }
            }
        }
        self.consumed += chunk.len();
        Ok(())
    }

    /// Ends the input.
    ///
    /// # Errors
    /// [`Fault::Syntax`] when the value is not complete.
    pub(super) fn finish(&mut self, tokens: &mut impl Tokens) -> Result<(), Fault> {
        match self.state {
            State::Number(number) if number.is_complete() => self.end_scalar(self.consumed, tokens),
            State::Literal([]) => self.end_scalar(self.consumed, tokens),
            _ => {}
        }
        if self.state == State::Done { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// One byte outside of strings, numbers and literals.
    fn structure(
        &mut self,
        byte: u8,
        position: usize,
        tokens: &mut impl Tokens,
    ) -> Result<(), Fault> {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Ok(());
        }
        self.state = match (self.state, byte) {
            (State::Name | State::FirstName, b'"') => self.begin_text(position, true),
            (State::Colon, b':') => State::Value,
            (State::AfterValue, b',') => match self.open.last() {
                Some(Container::Object) => State::Name,
                _ => State::Value,
            },
            (State::AfterValue | State::FirstName, b'}') => {
                self.close(Container::Object, tokens)?
            }
            (State::AfterValue | State::FirstElement, b']') => {
                self.close(Container::Array, tokens)?
            }
            (State::Value | State::FirstElement, _) => match byte {
                b'"' => self.begin_text(position, false),
                b'{' => self.open(Container::Object, tokens)?,
                b'[' => self.open(Container::Array, tokens)?,
                b'-' => self.begin(position, State::Number(Number::Minus)),
                b'0' => self.begin(position, State::Number(Number::Zero)),
                b'1'..=b'9' => self.begin(position, State::Number(Number::Integer)),
                b't' => self.begin(position, State::Literal(b"rue")),
                b'f' => self.begin(position, State::Literal(b"alse")),
                b'n' => self.begin(position, State::Literal(b"ull")),
                _ => return Err(Fault::Syntax),
            },
            _ => return Err(Fault::Syntax),
        };
        Ok(())
    }

    const fn begin(&mut self, position: usize, state: State) -> State {
        self.token = position;
        state
    }

    const fn begin_text(&mut self, position: usize, name: bool) -> State {
        self.name = name;
        self.escaped = false;
        self.begin(position, State::Text)
    }

    fn end_text(&mut self, end: usize, tokens: &mut impl Tokens) {
        let text = Text { span: Span { start: self.token, end }, escaped: self.escaped };
        if self.name {
            tokens.name(text);
            self.state = State::Colon;
        } else {
            tokens.string(text);
            self.state = self.after_value();
        }
    }

    fn end_scalar(&mut self, end: usize, tokens: &mut impl Tokens) {
        tokens.scalar(Span { start: self.token, end });
        self.state = self.after_value();
    }

    fn open(&mut self, container: Container, tokens: &mut impl Tokens) -> Result<State, Fault> {
        if self.open.len() >= self.max_depth {
            return Err(Fault::TooDeep);
        }
        self.open.push(container);
        tokens.open(container);
        Ok(match container {
            Container::Object => State::FirstName,
            Container::Array => State::FirstElement,
        })
    }

    fn close(&mut self, container: Container, tokens: &mut impl Tokens) -> Result<State, Fault> {
        if self.open.pop() != Some(container) {
            return Err(Fault::Syntax);
        }
        tokens.close();
        Ok(self.after_value())
    }

    const fn after_value(&self) -> State {
        if self.open.is_empty() { State::Done } else { State::AfterValue }
    }
}

/// How many bytes at the start neither end a string nor break it.
fn plain_run(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut run = 0;
    for word in words {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return run + special.trailing_zeros() as usize / 8;
        }
        run += 8;
    }
    run + tail.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | ..0x20)).count()
}

/// Marks the quotes, backslashes and control characters of eight bytes by their highest bits. Bytes
/// above the lowest marked one may be marked falsely, since subtraction borrows.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    ((quotes.wrapping_sub(ONES) & !quotes)
        | (backslashes.wrapping_sub(ONES) & !backslashes)
        | (word.wrapping_sub(ONES * 0x20) & !word))
        & (ONES * 0x80)
}
