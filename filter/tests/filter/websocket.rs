//! JSON-RPC over WebSocket, frames cut at every byte.

use crate::{envoy::*, host::host};

const CONFIGURATION: &str = r#"{"sidecar_cluster":"s","framing":"exact"}"#;
const TAGGED: &str = r#"{"id":1,"method":"eth_call","params":[{},"espresso"]}"#;
const REWRITTEN: &str = r#"{"id":1,"method":"eth_call","params":[{},"0x64"]}"#;
const KEY: [u8; 4] = [0x12, 0xef, 0x00, 0x80];
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;

/// A frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            frame.push(0xfe);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn upgrade() -> Request {
    post("").with(":method", "GET").with("upgrade", "WebSocket").without("content-length")
}

/// What the node gets of these bytes, sent in such chunks.
fn send_frames(chunks: Vec<Vec<u8>>) -> Outcome {
    send(&Request { chunks, ..upgrade() })
}

#[test]
fn a_tag_in_a_message_becomes_the_number_however_the_bytes_are_cut() {
    start_with_head(CONFIGURATION, 100);
    let long =
        format!(r#"{{"id":2,"method":"eth_call","params":["{}","espresso"]}}"#, "x".repeat(70_000));
    let (first, second) = TAGGED.split_at(20);
    for (sent, expected) in [
        (frame(TEXT, TAGGED.as_bytes()), frame(TEXT, REWRITTEN.as_bytes())),
        (frame(0x82, TAGGED.as_bytes()), frame(0x82, REWRITTEN.as_bytes())),
        (
            [frame(0x01, first.as_bytes()), frame(PING, b"x"), frame(0x80, second.as_bytes())]
                .concat(),
            [frame(PING, b"x"), frame(TEXT, REWRITTEN.as_bytes())].concat(),
        ),
        (frame(TEXT, b"not JSON"), frame(TEXT, b"not JSON")),
        (
            [frame(TEXT, TAGGED.as_bytes()), frame(0x88, b"\x03\xe8")].concat(),
            [frame(TEXT, REWRITTEN.as_bytes()), frame(0x88, b"\x03\xe8")].concat(),
        ),
    ] {
        for cut in 0..=sent.len() {
            let (one, other) = sent.split_at(cut);
            let outcome = send_frames(vec![one.to_vec(), other.to_vec()]);
            assert_eq!(outcome.body, expected, "cut at {cut}");
        }
        let bytes = sent.iter().map(|byte| vec![*byte]).collect();
        assert_eq!(send_frames(bytes).body, expected);
    }
    let outcome = send_frames(vec![frame(TEXT, long.as_bytes())]);
    assert!(outcome.body == frame(TEXT, long.replace("espresso", "0x64").as_bytes()));
}

#[test]
fn compression_is_declined() {
    start_with_head(CONFIGURATION, 100);
    let request = upgrade().with("sec-websocket-extensions", "permessage-deflate");
    let outcome = send(&Request { chunks: vec![vec![]], ..request });
    assert!(outcome.header("sec-websocket-extensions").is_empty());
    assert_eq!(outcome.header("upgrade"), ["WebSocket"]);
}

#[test]
fn a_client_over_http2_gets_the_key_that_a_node_over_http1_wants() {
    start_with_head(CONFIGURATION, 100);
    let key = |request| send(&request).header("sec-websocket-key");
    let [made] = key(upgrade()).try_into().unwrap();
    assert_eq!(made.len(), 24, "16 bytes in base64: {made}");
    let own = "dGhlIHNhbXBsZSBub25jZQ==";
    assert_eq!(key(upgrade().with("sec-websocket-key", own)), [own]);
}

#[test]
fn without_a_head_the_node_is_made_to_refuse_what_has_a_tag() {
    start(CONFIGURATION);
    let unknown =
        |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"finality_refused_no_head"}}"#);
    let other = r#"{"id":"b","method":"eth_chainId"}"#;
    let notification = TAGGED.replace(r#""id":1,"#, "");
    for (sent, expected) in [
        (TAGGED.to_owned(), Some(unknown("1"))),
        (other.to_owned(), Some(other.to_owned())),
        (
            format!("[{TAGGED},{other},{notification}]"),
            Some(format!("[{},{}]", unknown("1"), unknown(r#""b""#))),
        ),
        (notification.clone(), None),
        (format!("[{notification}]"), None),
    ] {
        let frames = [frame(TEXT, sent.as_bytes()), frame(PING, b"x")].concat();
        let outcome = send_frames(vec![frames]);
        let expected = expected.map_or(Vec::new(), |text| frame(TEXT, text.as_bytes()));
        assert_eq!(outcome.body, [expected, frame(PING, b"x")].concat(), "{sent}");
    }
    assert_eq!(metric("refused_no_head_total"), 4);
}

#[test]
fn what_cannot_be_served_closes_the_connection() {
    let close = |code: u16| {
        let mut frame = vec![0x88, 0x82, 0, 0, 0, 0];
        frame.extend(code.to_be_bytes());
        frame
    };
    let tagged = frame(TEXT, TAGGED.as_bytes());
    start_with_head(CONFIGURATION, 100);
    let cut = &TAGGED.as_bytes()[..TAGGED.len() - 1];
    for (sent, code) in [
        (frame(TEXT, cut), 1008),
        (frame(0xc1, b"compressed"), 1002),
        (TAGGED.as_bytes().to_vec(), 1002),
        (frame(TEXT, &[b' '; 1_000_001]), 1009),
    ] {
        let outcome = send_frames(vec![sent, tagged.clone()]);
        assert_eq!(outcome.body, close(code));
    }
    let good = frame(TEXT, b"{}");
    let outcome = send_frames(vec![[good.clone(), frame(TEXT, cut), good.clone()].concat()]);
    assert_eq!(outcome.body, [good, close(1008)].concat());
}

#[test]
fn many_connections_with_unfinished_messages_do_not_fill_the_memory() {
    start_with_head(CONFIGURATION, 100);
    let message = frame(TEXT, &[b' '; 1_000_000]);
    let part = &message[..message.len() - 1];
    let push = |stream, bytes: &[u8]| {
        host(|host| {
            host.request_body = bytes.to_vec();
        });
        assert_eq!(callbacks::request_body(stream, bytes.len(), false), CONTINUE);
        host(|host| std::mem::take(&mut host.request_body))
    };
    host(|host| host.request_headers = upgrade().headers);
    let open = |stream| {
        callbacks::create(stream, ROOT);
        assert_eq!(callbacks::request_headers(stream, 3, false), CONTINUE);
        push(stream, part)
    };
    let closed = (1000..1100).filter(|stream| !open(*stream).is_empty()).count();
    assert_eq!(closed, 100 - 67, "64 MiB are room for 67 of them");
    // Messages that end, and connections that do, make room.
    assert_eq!(push(1000, &message[part.len()..]), message);
    callbacks::delete(1001);
    assert!(open(2000).is_empty() && open(2001).is_empty());
    assert!(!open(2002).is_empty());
}
