//! A load generator: a few connections, each of which sends its next request when it has the
//! answer.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

/// How long any single answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a round of load has shown.
#[derive(Debug)]
pub(super) struct Load {
    /// How long each request took, shortest first.
    pub(super) latencies: Vec<Duration>,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
}

impl Load {
    /// Requests per second.
    pub(super) fn throughput(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the requests does not exceed, in seconds.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let at = (self.latencies.len() as f64 * share) as usize;
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(at.min(last)).map_or(0.0, Duration::as_secs_f64)
    }
}

/// One connection that is kept.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(super) fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a whole request and reads the answer: its status and its body.
    pub(super) fn send(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.stream.get_mut().write_all(request)?;
        let head = read_head(&mut self.stream)?.context("the connection was closed")?;
        let status = head.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut body = Vec::new();
        head.read_body(&mut self.stream, &mut body)?;
        Ok((status.context("an answer without a status")?, body))
    }
}

/// A request without a body.
pub(super) fn get() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n".to_vec()
}

/// A request to JSON-RPC with this body.
pub(super) fn post(body: &str) -> Vec<u8> {
    let head = "POST / HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// What matters of the head of a message.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) first_line: String,
    content_length: Option<usize>,
    chunked: bool,
}

/// Reads the head of a message; `None` at the end of the connection.
pub(super) fn read_head(stream: &mut impl BufRead) -> Result<Option<Head>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let first_line = line.trim_end().to_owned();
    let mut head = Head { first_line, content_length: None, chunked: false };
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            bail!("the connection was closed within the head of a message");
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(head));
        };
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = Some(value.trim().parse()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = true;
        }
    }
}

impl Head {
    /// Reads the body that follows this head.
    pub(super) fn read_body(&self, stream: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
        body.clear();
        if !self.chunked {
            body.resize(self.content_length.unwrap_or(0), 0);
            return Ok(stream.read_exact(body)?);
        }
        let mut line = String::new();
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end(), 16).context("size of a chunk")?;
            let from = body.len();
            // With the line break after it.
            body.resize(from + size + 2, 0);
            stream.read_exact(body.get_mut(from..).unwrap_or_default())?;
            body.truncate(from + size);
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// Sends the request over and over for this time, on so many connections.
///
/// # Errors
/// A connection fails, or an answer is not 200.
pub(super) fn load(port: u16, request: &[u8], connections: usize, time: Duration) -> Result<Load> {
    let connections: Vec<Connection> =
        (0..connections).map(|_| Connection::open(port)).collect::<Result<_>>()?;
    let start = Instant::now();
    let outcomes = thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|connection| scope.spawn(move || repeat(connection, request, start, time)))
            .collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let elapsed = start.elapsed();
    let mut latencies = Vec::new();
    for outcome in outcomes {
        latencies.extend(outcome.map_err(|_| anyhow!("a connection's thread panicked"))??);
    }
    latencies.sort_unstable();
    Ok(Load { latencies, elapsed })
}

fn repeat(
    mut connection: Connection,
    request: &[u8],
    start: Instant,
    time: Duration,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        let sent = Instant::now();
        let (status, body) = connection.send(request)?;
        if status != 200 {
            bail!("answered with {status}: {}", String::from_utf8_lossy(&body));
        }
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}
