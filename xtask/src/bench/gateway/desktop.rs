//! A fake desktop that sends the frames it is asked for. It writes websocket frames ([RFC 6455, 5.2]) by hand, so that the
//! benchmark itself costs little. It listens on all addresses of this machine, which include those of simulated pods.
//!
//! [RFC 6455, 5.2]: https://www.rfc-editor.org/rfc/rfc6455#section-5.2

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::IntoResponse,
    routing::any,
    serve::ListenerExt,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// The path of its websocket.
pub const WEBSOCKET: &str = "/websockify";
/// Its response to any other GET.
pub const PAGE: &str = "a desktop";

const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
/// The length of a client's message: the header with the mask, and 16 bytes.
const MESSAGE: usize = 6 + 16;

/// Starts it for the lifetime of this process, and returns its port.
pub async fn start() -> Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await?;
    let port = listener.local_addr()?.port();
    let listener = listener.tap_io(|stream| {
        // Fails only when the client is gone.
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new().route(WEBSOCKET, any(websocket)).fallback(async || PAGE);
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(port)
}

/// A client's message that requests `frames` frames with a payload of `size` bytes each. Its mask is zero, which changes
/// nothing.
pub fn message(frames: u64, size: u64) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    [message[0], message[1]] = [BINARY, MASKED | 16];
    message[6..14].copy_from_slice(&frames.to_be_bytes());
    message[14..].copy_from_slice(&size.to_be_bytes());
    message
}

fn asked(message: &[u8; MESSAGE]) -> (u64, u64) {
    let number = |at: usize| message[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (number(6), number(14))
}

/// A frame from the desktop, which has no mask.
pub fn frame(size: u64) -> Vec<u8> {
    let length = match size {
        0..=125 => vec![size as u8],
        126..=0xffff => [&[126][..], &(size as u16).to_be_bytes()].concat(),
        _ => [&[127][..], &size.to_be_bytes()].concat(),
    };
    [&[BINARY][..], &length, &vec![0; size as usize]].concat()
}

async fn websocket(mut request: Request<Body>) -> impl IntoResponse {
    tokio::spawn(serve(hyper::upgrade::on(&mut request)));
    (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "websocket")])
}

/// Serves a client until it disconnects.
async fn serve(upgrade: OnUpgrade) -> Result<()> {
    let mut stream: TokioIo<Upgraded> = TokioIo::new(upgrade.await?);
    let mut message = [0; MESSAGE];
    loop {
        stream.read_exact(&mut message).await?;
        let (frames, size) = asked(&message);
        let frame = frame(size);
        for _ in 0..frames {
            stream.write_all(&frame).await?;
        }
        stream.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_parsed_back() {
        assert_eq!(asked(&message(3, 1 << 20)), (3, 1 << 20));
    }

    #[test]
    fn a_frame_has_a_header_of_two_four_or_ten_bytes() {
        let lengths = [16, 300, 1 << 20].map(|size| frame(size).len() - size as usize);
        assert_eq!(lengths, [2, 4, 10]);
    }
}
