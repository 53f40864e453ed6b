//! A desktop that records every byte that it gets, and splits the bytes into requests wherever some server might.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Vec<u8>>>>);

/// A request, perhaps incomplete.
#[derive(Debug)]
pub struct RecordedRequest {
    pub line: String,
    /// The names, in lower case, and the values.
    pub headers: Vec<(String, String)>,
    is_complete: bool,
}

impl RecordedRequest {
    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(found, _)| found == name)
    }
}

impl Recorder {
    /// Starts a recorder, and returns it with its port. Every response starts like those of a
    /// [fake desktop](vdi_tests::fake_desktop).
    pub async fn start() -> Result<(Self, u16)> {
        let (recorder, listener) = (Self::default(), TcpListener::bind(("0.0.0.0", 0)).await?);
        let port = listener.local_addr()?.port();
        let recording = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(recording.clone().record(stream));
            }
        });
        Ok((recorder, port))
    }

    async fn record(self, mut stream: TcpStream) -> Result<()> {
        let (mut buffer, mut answered) = (vec![0; 64 * 1024], 0);
        let connection = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Vec::new());
            all.len() - 1
        };
        loop {
            let read = stream.read(&mut buffer).await?;
            let complete = {
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                all[connection].extend(&buffer[..read]);
                requests(&all[connection]).iter().filter(|request| request.is_complete).count()
            };
            while answered < complete {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\na desktop was asked").await?;
                answered += 1;
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// All requests, by connection and in order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().flat_map(|bytes| requests(bytes)).collect()
    }
}

fn requests(mut bytes: &[u8]) -> Vec<RecordedRequest> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            all.push(parse(bytes, false));
            break;
        };
        let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
        let mut request = parse(head, true);
        let header = |name: &str| request.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value);
        let body = match (header("transfer-encoding"), header("content-length")) {
            (Some(_), _) => chunked(rest),
            (None, Some(length)) => length.parse().ok().filter(|length| *length <= rest.len()),
            (None, None) => Some(0),
        };
        request.is_complete = body.is_some();
        bytes = body.map_or(&[], |body| &rest[body..]);
        all.push(request);
    }
    all
}

fn parse(head: &[u8], is_complete: bool) -> RecordedRequest {
    let head = String::from_utf8_lossy(head).into_owned();
    // Some servers accept a lone CR or LF as the end of a line.
    let mut lines = head.split(['\r', '\n']).filter(|line| !line.is_empty());
    let line = lines.next().unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.trim().to_ascii_lowercase(), value.trim().to_owned())
    };
    RecordedRequest { line, headers: lines.map(header).collect(), is_complete }
}

/// The length of a chunked body, if it is complete.
fn chunked(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let end = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok())?;
        at = end + 2;
        if size == 0 {
            // There are no trailers.
            return (bytes.get(at..at + 2)? == b"\r\n").then_some(at + 2);
        }
        at += size + 2;
        if at > bytes.len() {
            return None;
        }
    }
}
