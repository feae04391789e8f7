//! What a server of a test reads.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::TcpStream,
    time::Duration,
};

/// A request's head, and its body, which need not be text. It is waited for no longer than
/// `patience`.
pub(crate) fn read(stream: &mut TcpStream, patience: Duration) -> io::Result<(String, Vec<u8>)> {
    stream.set_read_timeout(Some(patience))?;
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if reader.read_line(&mut head)? <= 2 {
            break;
        }
        if let Some(text) = head[start..].to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head, body))
}
