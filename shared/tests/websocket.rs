//! The WebSocket relay between a client and a server of tungstenite, with the bytes cut into
//! chunks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{self, Cursor, Read, Write};

use finality_core::websocket::{Fault, Relay, write_close};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use tungstenite::protocol::{
    Message, Role, WebSocket,
    frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

const LIMIT: usize = 200_000;

/// A message: whether it is text, and its fragments, each with an optional ping before it.
type Sent = (bool, Vec<(Option<Vec<u8>>, String)>);

/// The bytes that a client of tungstenite sends for these messages.
fn client(messages: &[Sent]) -> Vec<u8> {
    let mut client = WebSocket::from_raw_socket(Cursor::new(Vec::new()), Role::Client, None);
    for (text, fragments) in messages {
        for (at, (ping, fragment)) in fragments.iter().enumerate() {
            if let Some(ping) = ping {
                client.send(Message::Ping(ping.clone().into())).unwrap();
            }
            let kind = match (at, text) {
                (0, true) => Data::Text,
                (0, false) => Data::Binary,
                _ => Data::Continue,
            };
            let end = at + 1 == fragments.len();
            let frame = Frame::message(fragment.clone(), OpCode::Data(kind), end);
            client.send(Message::Frame(frame)).unwrap();
        }
    }
    client.get_ref().get_ref().clone()
}

/// A connection that delivers bytes and discards responses.
struct Incoming(Cursor<Vec<u8>>);

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The messages that a server of tungstenite reads.
fn server(bytes: Vec<u8>) -> Vec<Message> {
    let mut server = WebSocket::from_raw_socket(Incoming(Cursor::new(bytes)), Role::Server, None);
    std::iter::from_fn(|| server.read().ok()).collect()
}

/// Relays chunks and replaces every "a" in a message with "bc".
fn relay<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Fault> {
    let mut relay = Relay::new(LIMIT);
    let mut out = Vec::new();
    for mut chunk in chunks {
        while let Some(message) = relay.read(&mut chunk, &mut out)? {
            let payload = String::from_utf8(message.payload().to_vec()).unwrap();
            message.write(payload.replace('a', "bc").as_bytes(), &mut out);
        }
        assert!(chunk.is_empty());
    }
    Ok(out)
}

fn cut<'a>(bytes: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn messages() -> impl Strategy<Value = Vec<Sent>> {
    let length = prop_oneof![0..20_usize, 120..130_usize];
    let text = (length, select(&["a", "xa", "\u{e9}"][..]))
        .prop_map(|(length, word)| word.repeat(length / word.len()));
    let ping = prop_oneof![3 => Just(None), 1 => vec(any::<u8>(), 0..126).prop_map(Some)];
    let fragments = vec((ping, text), 1..4);
    vec((any::<bool>(), fragments), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_are_changed_and_everything_else_is_forwarded(messages in messages(), cuts in vec(any::<Index>(), 0..8)) {
        let sent = client(&messages);
        let relayed = relay(cut(&sent, &cuts)).unwrap();
        let mut expected = Vec::new();
        for (text, fragments) in &messages {
            expected.extend(fragments.iter().filter_map(|(ping, _)| Some(Message::Ping(ping.clone()?.into()))));
            let payload: String = fragments.iter().map(|(_, fragment)| fragment.replace('a', "bc")).collect();
            expected.push(if *text { Message::text(payload) } else { Message::binary(payload.into_bytes()) });
        }
        prop_assert_eq!(server(relayed), expected);
    }

    #[test]
    fn arbitrary_bytes_cause_no_panic(chunks in vec(vec(any::<u8>(), 0..40), 0..8)) {
        let mut relay = Relay::new(1000);
        let mut out = Vec::new();
        'connection: for chunk in &chunks {
            let mut bytes = chunk.as_slice();
            loop {
                match relay.read(&mut bytes, &mut out) {
                    Ok(Some(message)) => message.write(message.payload(), &mut out),
                    Ok(None) => break,
                    Err(_) => break 'connection,
                }
            }
        }
    }
}

#[test]
fn unchanged_messages_in_one_frame_are_forwarded_byte_for_byte() {
    for length in [0, 1, 125, 126, 127, 1000] {
        let sent = client(&[(true, vec![(Some(vec![7; 5]), "x".repeat(length))])]);
        for place in 0..=sent.len() {
            let (first, second) = sent.split_at(place);
            assert_eq!(relay([first, second]).unwrap(), sent, "{length} cut at {place}");
        }
        assert_eq!(relay(sent.chunks(1)).unwrap(), sent);
    }
    for length in [65_535, 65_536] {
        let sent = client(&[(false, vec![(None, "x".repeat(length))])]);
        assert_eq!(relay(sent.chunks(1000)).unwrap(), sent);
    }
}

#[test]
fn invalid_frames_are_faults() {
    for (bytes, fault) in [
        (&[0xc1, 0x80][..], Fault::Extension),
        (&[0x83, 0x80], Fault::Opcode),
        (&[0x8b, 0x80], Fault::Opcode),
        (&[0x81, 0x01], Fault::Unmasked),
        (&[0x09, 0x80], Fault::Control),
        (&[0x88, 0xfe], Fault::Control),
        (&[0x80, 0x80, 0, 0, 0, 0], Fault::Order),
        (&[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], Fault::Order),
        (&[0x81, 0xff, 0, 0, 0, 0, 0, 3, 0x0d, 0x41, 0, 0, 0, 0], Fault::TooLong { limit: LIMIT }),
        (
            &[0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0],
            Fault::TooLong { limit: LIMIT },
        ),
    ] {
        assert_eq!(relay([bytes]), Err(fault), "{bytes:x?}");
    }
    let fragment = [&[0x01, 0xfe, 0xc3, 0x50, 0, 0, 0, 0][..], &[b'x'; 50_000]].concat();
    let next = [&[0x00, 0xfe, 0xc3, 0x50, 0, 0, 0, 0][..], &[b'x'; 50_000]].concat();
    assert!(relay([&fragment[..], &next, &next, &next]).is_ok(), "exactly the limit");
    let last = [0x80, 0x81, 0, 0, 0, 0, b'x'];
    assert_eq!(
        relay([&fragment[..], &next, &next, &next, &last]),
        Err(Fault::TooLong { limit: LIMIT })
    );
    assert_eq!(Fault::TooLong { limit: LIMIT }.close_code(), 1009);
    assert_eq!(Fault::Unmasked.close_code(), 1002);
}

#[test]
fn a_server_accepts_the_close_frame() {
    let mut out = Vec::new();
    write_close(1002, &mut out);
    let [Message::Close(Some(close))] = &server(out)[..] else { panic!("no close frame") };
    assert_eq!(u16::from(close.code), 1002);
}
