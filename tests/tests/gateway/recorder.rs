//! A desktop that takes down what it is sent, byte by byte, and reads it as strictly as anybody may: what it takes for a request
//! is what somebody might.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Vec<u8>>>>);

/// What was asked, perhaps not to its end.
#[derive(Debug)]
pub struct Asked {
    pub line: String,
    /// Their names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    is_whole: bool,
}

impl Asked {
    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(found, _)| found == name)
    }
}

impl Recorder {
    /// Starts one, and returns its port. Everything is answered as a [fake desktop](vdi_tests::fake_desktop) begins.
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
            let whole = {
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                all[connection].extend(&buffer[..read]);
                requests(&all[connection]).iter().filter(|asked| asked.is_whole).count()
            };
            while answered < whole {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\na desktop was asked").await?;
                answered += 1;
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Everything that was asked, by connection and then in its order.
    pub fn asked(&self) -> Vec<Asked> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().flat_map(|bytes| requests(bytes)).collect()
    }
}

fn requests(mut bytes: &[u8]) -> Vec<Asked> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            all.push(asked(bytes, false));
            break;
        };
        let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
        let mut asked = asked(head, true);
        let header = |name: &str| asked.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value);
        let body = match (header("transfer-encoding"), header("content-length")) {
            (Some(_), _) => chunked(rest),
            (None, Some(length)) => length.parse().ok().filter(|length| *length <= rest.len()),
            (None, None) => Some(0),
        };
        asked.is_whole = body.is_some();
        bytes = body.map_or(&[], |body| &rest[body..]);
        all.push(asked);
    }
    all
}

fn asked(head: &[u8], is_whole: bool) -> Asked {
    let head = String::from_utf8_lossy(head).into_owned();
    // Somebody may take a lone CR or LF for an end of the line too.
    let mut lines = head.split(['\r', '\n']).filter(|line| !line.is_empty());
    let line = lines.next().unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.trim().to_ascii_lowercase(), value.trim().to_owned())
    };
    Asked { line, headers: lines.map(header).collect(), is_whole }
}

/// How long a body of chunks is, if all of it is there.
fn chunked(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let end = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok())?;
        at = end + 2;
        if size == 0 {
            // Trailers, of which there are none.
            return (bytes.get(at..at + 2)? == b"\r\n").then_some(at + 2);
        }
        at += size + 2;
        if at > bytes.len() {
            return None;
        }
    }
}
