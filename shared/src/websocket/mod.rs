//! The client's side of a WebSocket connection (RFC 6455), without any I/O: splits what a client
//! sends into messages, each of which may be changed before it is forwarded.
//!
//! [`Relay::read`] accepts the bytes in chunks of any size:
//!
//! - Text and binary messages, since nodes read JSON from both, are unmasked and held until they
//!   are complete, up to a limit. [`Message::write`] writes one as a single frame with the mask of
//!   its first frame: an unchanged message that arrived in one frame is forwarded byte for byte.
//! - Control frames are forwarded unchanged. Those between the fragments of a message overtake it.
//! - Anything that RFC 6455 forbids a client to send, and frames of an extension, whose payload
//!   could not be read, are a [`Fault`]: close the connection with [`Fault::close_code`].

mod frame;

use thiserror::Error;

use frame::{Header, Opcode, mask};

/// Reads the frames that one client sends.
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
    /// The fragments of an incomplete message.
    message: Option<Message>,
}

#[derive(Debug)]
enum State {
    /// In a frame's header; its bytes so far.
    Header(Vec<u8>),
    /// In a frame's payload.
    Payload {
        header: Header,
        /// Bytes of the payload so far.
        read: u64,
    },
}

/// A complete text or binary message of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    opcode: Opcode,
    key: [u8; 4],
    payload: Vec<u8>,
}

/// Why a connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// A frame has reserved bits set: it belongs to an extension, such as compression.
    #[error("a WebSocket frame uses an extension that was not negotiated")]
    Extension,
    /// A frame has an opcode that RFC 6455 does not define.
    #[error("a WebSocket frame has an unknown opcode")]
    Opcode,
    /// A frame is not masked, as every frame of a client must be.
    #[error("a WebSocket frame of a client is not masked")]
    Unmasked,
    /// A control frame is fragmented or longer than 125 bytes.
    #[error("a WebSocket control frame is fragmented or too long")]
    Control,
    /// A continuation frame without a message, or a message inside another.
    #[error("a WebSocket fragment is out of order")]
    Order,
    /// A message exceeds the limit.
    #[error("a WebSocket message exceeds {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl Fault {
    /// The status code for the close frame (RFC 6455, section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::TooLong { .. } => 1009,
            _ => 1002,
        }
    }
}

impl Message {
    /// Whether it is a text message, rather than a binary one.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.opcode == Opcode::Text
    }

    /// The unmasked payload, all fragments together.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Appends the message to `out` as one frame with the given payload.
    pub fn write(&self, payload: &[u8], out: &mut Vec<u8>) {
        frame::write(self.opcode, self.key, payload, out);
    }
}

/// Appends a client's close frame with a status code of RFC 6455 to `out`.
pub fn write_close(code: u16, out: &mut Vec<u8>) {
    frame::write(Opcode::Close, [0; 4], &code.to_be_bytes(), out);
}

impl Relay {
    /// Starts at the first frame after the upgrade. `max_message_bytes` limits the payload of a
    /// message, all fragments together.
    #[must_use]
    pub const fn new(max_message_bytes: usize) -> Self {
        Self { max_message_bytes, state: State::Header(Vec::new()), message: None }
    }

    /// How much memory the relay has allocated for an incomplete message, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let header = match &self.state {
            State::Header(bytes) => bytes.capacity(),
            State::Payload { .. } => 0,
        };
        header + self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    /// Consumes `bytes` up to the end of the next message and returns that message, which is
    /// forwarded only if it is [written](Message::write). Returns `None` once all bytes are
    /// consumed. Control frames are appended to `out`.
    ///
    /// # Errors
    /// [`Fault`] if the connection must be closed. Do not call it again after that.
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

    /// Starts a data frame.
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
