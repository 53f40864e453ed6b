//! A raw HTTP/2 client ([RFC 9113]), for requests that libraries refuse to send. It sends any frame as it is, and headers as
//! literals without indexing ([RFC 7541, 6.2.2]).
//!
//! [RFC 9113]: https://www.rfc-editor.org/rfc/rfc9113
//! [RFC 7541, 6.2.2]: https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::client::TlsStream;
use vdi_tests::gateway::Gateway;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GO_AWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The default limit of a frame's payload.
pub const MAX_FRAME_SIZE: usize = 16 * 1024;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block that adds nothing to HPACK's dynamic table.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(0, name, value)).collect()
}

/// A literal header field. The representation 0x40 adds it to HPACK's dynamic table.
pub fn literal(representation: u8, name: &str, value: &str) -> Vec<u8> {
    [&[representation], &*string(name), &string(value)].concat()
}

/// A string literal (RFC 7541, 5.2): its length with a 7-bit prefix, and its bytes.
fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match text.len() {
        length @ ..127 => bytes.push(length as u8),
        length => {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend(text.as_bytes());
    bytes
}

/// How the gateway responds to a request.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Answer {
        status: u16,
        body: String,
    },
    /// RST_STREAM, with this error code.
    Reset(u32),
    /// GOAWAY, with this error code.
    GoAway(u32),
    /// The connection was closed without an error code.
    Closed,
}

impl Outcome {
    /// Whether the gateway refused the request.
    pub fn is_refused(&self) -> bool {
        !matches!(self, Self::Answer { status, .. } if !(400..500).contains(status))
    }
}

/// How the gateway responds to a flood of frames.
#[derive(Debug, PartialEq)]
pub enum Flood {
    /// The gateway reads all of it.
    Accepted,
    /// The gateway stops reading, because the client reads no responses.
    Stalled,
    /// The gateway closed the connection, with an error code if it sent one.
    Closed(Option<u32>),
}

/// An HTTP/2 connection.
pub struct Frames {
    from: ReadHalf<TlsStream<TcpStream>>,
    to: WriteHalf<TlsStream<TcpStream>>,
}

impl Frames {
    /// Opens a connection with these settings.
    pub async fn open(gateway: &Gateway, host: &str, settings: &[u8]) -> Result<Self> {
        let (from, mut to) = split(gateway.connect_http2(host).await?);
        to.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        to.write_all(&frame(SETTINGS, 0, 0, settings)).await?;
        Ok(Self { from, to })
    }

    /// Sends bytes. Returns whether the connection is still open.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = async {
            self.to.write_all(bytes).await?;
            self.to.flush().await
        };
        sent.await.is_ok()
    }

    /// Waits for the outcome of a stream.
    pub async fn outcome(&mut self, stream: u32) -> Result<Outcome> {
        timeout(Duration::from_secs(30), self.read(stream)).await.context("no response")
    }

    async fn read(&mut self, wanted: u32) -> Outcome {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let Ok((kind, flags, stream, payload)) = next(&mut self.from).await else { return Outcome::Closed };
            match kind {
                GO_AWAY if error(&payload, 4) != 0 => return Outcome::GoAway(error(&payload, 4)),
                RESET if stream == wanted => return Outcome::Reset(error(&payload, 0)),
                HEADERS if stream == wanted => status = status_of(&payload),
                DATA if stream == wanted => body.extend(&payload),
                _ => continue,
            }
            if flags & END_STREAM != 0 {
                return Outcome::Answer { status, body: String::from_utf8_lossy(&body).into_owned() };
            }
        }
    }

    /// Sends frames for some time. `listens` says whether the client reads the responses meanwhile.
    pub async fn flood(&mut self, time: Duration, listens: bool, mut frames: impl Iterator<Item = Vec<u8>>) -> Flood {
        let Self { from, to } = self;
        let end = Instant::now() + time;
        let write = async {
            while Instant::now() < end {
                let mut bytes = Vec::new();
                while bytes.len() < MAX_FRAME_SIZE {
                    bytes.extend(frames.next().unwrap_or_default());
                }
                match timeout(Duration::from_secs(1), to.write_all(&bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Flood::Closed(None),
                    Err(_) => return Flood::Stalled,
                }
            }
            Flood::Accepted
        };
        let mut goaway = std::pin::pin!(goaway_code(from));
        let flood = tokio::select! {
            flood = write => flood,
            code = &mut goaway, if listens => return Flood::Closed(code),
        };
        match flood {
            Flood::Closed(_) => Flood::Closed(timeout(Duration::from_secs(1), goaway).await.ok().flatten()),
            flood => flood,
        }
    }
}

type Frame = (u8, u8, u32, Vec<u8>);

async fn next(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Frame> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    from.read_exact(&mut payload).await?;
    Ok((kind, flags, u32::from_be_bytes(stream), payload))
}

/// Reads until the connection ends. Returns the error code of GOAWAY, if there is one.
async fn goaway_code(from: &mut (impl AsyncRead + Unpin)) -> Option<u32> {
    loop {
        match next(from).await {
            Ok((GO_AWAY, _, _, payload)) if error(&payload, 4) != 0 => return Some(error(&payload, 4)),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

fn error(payload: &[u8], at: usize) -> u32 {
    payload.get(at..at + 4).map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap_or_default()))
}

/// The status of a response, which its header block begins with: an index into HPACK's static table (RFC 7541, appendix A), or
/// three digits, either plain or with a Huffman code of five or six bits each (appendix B).
fn status_of(block: &[u8]) -> u16 {
    match block {
        [known @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
        [0x08 | 0x18 | 0x48, length, digits @ ..] if length & 0x80 != 0 => {
            let bits: Vec<u8> = digits.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
            let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | u16::from(*bit));
            let (mut at, mut status) = (0, 0);
            for _ in 0..3 {
                let short = number(&bits[at..at + 5]);
                let (digit, length) = if short <= 2 { (short, 5) } else { (number(&bits[at..at + 6]) - 22, 6) };
                (at, status) = (at + length, status * 10 + digit);
            }
            status
        }
        [0x08 | 0x18 | 0x48, 3, a, b, c, ..] => {
            [a, b, c].iter().fold(0, |status, digit| status * 10 + u16::from(*digit - b'0'))
        }
        _ => 0,
    }
}
