//! The client's side of a WebSocket connection (RFC 6455), read and written again without any I/O:
//! what a client sends is taken apart into messages, each of which may be changed before it goes
//! on.
//!
//! [`Relay::read`] takes bytes as they come, cut anywhere. What it does:
//!
//! - Messages, text and binary alike since nodes read JSON from both, are unmasked and held until
//!   they are complete, up to a limit. [`Message::write`] sends one on, changed or not, as a single
//!   frame under the mask of its first one: a message that came in one frame and is not changed is
//!   the same bytes again; fragments become one frame.
//! - Control frames pass as they came, also between the fragments of a message, which they then
//!   overtake.
//! - What RFC 6455 forbids a client, and frames of an extension that was not agreed on (so that a
//!   payload could not be read), are faults: the connection is to be closed, as
//!   [`Fault::close_code`] says.

mod frame;

use thiserror::Error;

use frame::{Header, Opcode, mask};

/// Reads what one client sends over a WebSocket connection.
///
/// ```
/// use finality_core::websocket::Relay;
///
/// let ping = b"\x89\x80\x01\x02\x03\x04";
/// let hello = b"\x81\x82\x01\x02\x03\x04\x69\x6b"; // the text "hi"
/// let mut relay = Relay::new(1_000_000);
/// let mut out = Vec::new();
/// for mut bytes in [&ping[..3], &ping[3..], hello] {
///     while let Some(message) = relay.read(&mut bytes, &mut out)? {
///         assert_eq!(message.payload(), b"hi");
///         message.write(message.payload(), &mut out);
///     }
/// }
/// assert_eq!(out, [&ping[..], hello].concat());
/// # Ok::<(), finality_core::websocket::Fault>(())
/// ```
#[derive(Debug)]
pub struct Relay {
    max_message_bytes: usize,
    state: State,
    /// The message that has begun, as far as its fragments have come.
    message: Option<Message>,
}

#[derive(Debug)]
enum State {
    /// In a frame's header, of which these bytes have come.
    Header(Vec<u8>),
    /// In a frame's payload.
    Payload {
        header: Header,
        /// How much of the payload has come.
        read: u64,
    },
}

/// A message of the client: text or binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    opcode: Opcode,
    key: [u8; 4],
    payload: Vec<u8>,
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// A frame has reserved bits: it belongs to an extension, such as compression.
    #[error("a WebSocket frame of an extension that was not agreed on")]
    Extension,
    /// A frame is of a kind that RFC 6455 does not know.
    #[error("a WebSocket frame of an unknown kind")]
    Opcode,
    /// A frame is not masked, which every frame of a client must be.
    #[error("a WebSocket frame of a client without a mask")]
    Unmasked,
    /// A control frame is fragmented or longer than 125 bytes.
    #[error("a WebSocket control frame that is fragmented or too long")]
    Control,
    /// A fragment continues nothing, or a message begins within another.
    #[error("a WebSocket fragment out of order")]
    Order,
    /// A message is longer than the limit.
    #[error("a WebSocket message of more than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl Fault {
    /// The status code with which the connection is to be closed.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::TooLong { .. } => 1009,
            _ => 1002,
        }
    }
}

impl Message {
    /// Whether it is a text message.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.opcode == Opcode::Text
    }

    /// What it says, unmasked.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Appends the message as one frame, with this payload instead of its own.
    pub fn write(&self, payload: &[u8], out: &mut Vec<u8>) {
        frame::write(self.opcode, self.key, payload, out);
    }
}

/// Appends a close frame as a client sends it, with a status code of RFC 6455.
pub fn write_close(code: u16, out: &mut Vec<u8>) {
    frame::write(Opcode::Close, [0; 4], &code.to_be_bytes(), out);
}

impl Relay {
    /// A connection on which nothing has been sent yet. `max_message_bytes` is the longest message,
    /// fragments together.
    #[must_use]
    pub const fn new(max_message_bytes: usize) -> Self {
        Self { max_message_bytes, state: State::Header(Vec::new()), message: None }
    }

    /// How many bytes of a message that is not complete are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.len())
    }

    /// Takes from the front of `bytes`, up to the end of the next message. Returns the message: it
    /// goes on only if it is [written](Message::write). `None`: all bytes are taken. Control frames
    /// are appended to `out`.
    ///
    /// # Errors
    /// [`Fault`]: nothing may be read after it.
    pub fn read(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Message>, Fault> {
        loop {
            match &mut self.state {
                State::Header(start) => {
                    let Some((&byte, rest)) = bytes.split_first() else { return Ok(None) };
                    start.push(byte);
                    *bytes = rest;
                    let Some(header) = Header::parse(start)? else { continue };
                    if header.opcode.is_control() {
                        out.extend_from_slice(start);
                    } else {
                        self.begin(header)?;
                    }
                    self.state = State::Payload { header, read: 0 };
                }
                State::Payload { header, read } => {
                    let left = usize::try_from(header.length - *read).unwrap_or(usize::MAX);
                    let (part, rest) = bytes.split_at(left.min(bytes.len()));
                    *bytes = rest;
                    if header.opcode.is_control() {
                        out.extend_from_slice(part);
                    } else if let Some(message) = &mut self.message {
                        let from = message.payload.len();
                        message.payload.extend_from_slice(part);
                        let payload = message.payload.get_mut(from..).unwrap_or_default();
                        mask(payload, header.key, *read);
                    }
                    *read += part.len() as u64;
                    if *read < header.length {
                        return Ok(None);
                    }
                    let complete = header.end && !header.opcode.is_control();
                    self.state = State::Header(Vec::new());
                    if complete {
                        return Ok(self.message.take());
                    }
                }
            }
        }
    }

    /// A data frame begins.
    fn begin(&mut self, header: Header) -> Result<(), Fault> {
        let limit = self.max_message_bytes;
        let message = match (self.message.as_mut(), header.opcode) {
            (Some(message), Opcode::Continuation) => message,
            (None, opcode @ (Opcode::Text | Opcode::Binary)) => {
                self.message.insert(Message { opcode, key: header.key, payload: Vec::new() })
            }
            _ => return Err(Fault::Order),
        };
        let left = limit.saturating_sub(message.payload.len());
        match usize::try_from(header.length) {
            Ok(length) if length <= left => Ok(()),
            _ => Err(Fault::TooLong { limit }),
        }
    }
}
