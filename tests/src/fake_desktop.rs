//! A desktop without a screen, for pods of simulated nodes. Their addresses belong to this machine, so a server on all addresses
//! answers for every pod.

use std::net::SocketAddr;

use anyhow::Result;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header::HOST},
    response::{AppendHeaders, IntoResponse},
    routing::any,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Starts one and returns its port. It answers a GET with the request and its headers. Its websocket echoes every byte twice,
/// without frames.
pub async fn start() -> Result<u16> {
    let client = CLIENT.iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, any(async || ([("content-type", *kind), ("cache-control", "no-cache")], *content)))
    });
    let router = client.route("/websockify", any(twice)).route("/mischief", any(mischief)).fallback(tell);
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0))).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(port)
}

/// A client like those in images: it has several files and never retries. It shows when it is connected.
const CLIENT: [(&str, &str, &str); 3] = [
    (
        "/client/",
        "text/html; charset=utf-8",
        r#"<!doctype html><p id="said">Starting</p><script type="module" src="main.js"></script>"#,
    ),
    (
        "/client/main.js",
        "text/javascript",
        r#"import { address } from "./address.js";
const said = document.getElementById("said");
const socket = new WebSocket(address);
socket.addEventListener("open", () => { said.textContent = "Connected"; });
socket.addEventListener("close", () => { said.textContent = "Lost"; });"#,
    ),
    ("/client/address.js", "text/javascript", r#"export const address = `wss://${location.host}/websockify`;"#),
];

async fn tell(request: Request<Body>) -> String {
    let (request, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default().len();
    let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    let lines = [
        "cookie",
        "authorization",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-user",
        "x-vdi-upstream",
    ];
    let lines = lines.map(|name| format!("{name}: {}", header(name)));
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("-");
    let lines = lines.join("\n");
    let odd = |name: &&str| name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-');
    let odd: Vec<&str> = request.headers.keys().map(|name| name.as_str()).filter(odd).collect();
    let uri = &request.uri;
    format!("a desktop was asked for {uri} at {host}\n{lines}\nodd names: {odd:?}\nbody: {body} bytes\n")
}

/// Headers that a hostile desktop sends to affect more than its own pages.
pub const NOT_FOR_DESKTOPS: [(&str, &str); 8] = [
    ("alt-svc", "h3=\"evil.example.com:443\"; ma=86400"),
    ("clear-site-data", "\"cookies\", \"storage\""),
    ("nel", "{\"report_to\":\"evil\",\"max_age\":86400,\"include_subdomains\":true}"),
    ("proxy-authenticate", "Basic realm=\"Example Inc.\""),
    ("report-to", "{\"group\":\"evil\",\"max_age\":86400,\"endpoints\":[{\"url\":\"https://evil.example.com\"}]}"),
    ("reporting-endpoints", "evil=\"https://evil.example.com\""),
    ("service-worker-allowed", "/"),
    ("www-authenticate", "Basic realm=\"Example Inc. single sign-on\""),
];

/// It also sets the gateway's cookie, and tells the proxy in front of it to answer with something else.
async fn mischief() -> impl IntoResponse {
    let cookie = ("set-cookie", "__Host-vdi-session=stolen; Path=/; Secure");
    let more = [cookie, ("set-cookie", "own=1"), ("x-accel-redirect", "/.vdi/icon.svg")];
    (AppendHeaders(more), AppendHeaders(NOT_FOR_DESKTOPS), "mischief\n")
}

async fn twice(mut request: Request<Body>) -> impl IntoResponse {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut io = TokioIo::new(upgraded);
        let mut byte = [0];
        while io.read_exact(&mut byte).await.is_ok() && io.write_all(&[byte[0]; 2]).await.is_ok() {}
    });
    let key = request.headers().get("sec-websocket-key").map(|key| key.as_bytes().to_vec()).unwrap_or_default();
    let headers = [("connection", "upgrade".to_owned()), ("upgrade", "websocket".to_owned())];
    (StatusCode::SWITCHING_PROTOCOLS, AppendHeaders(headers), [("sec-websocket-accept", accept(&key))])
}

/// The proof to a browser that it has reached a websocket ([RFC 6455, 4.2.2]).
///
/// [RFC 6455, 4.2.2]: https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
fn accept(key: &[u8]) -> String {
    let key = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &key))
}
