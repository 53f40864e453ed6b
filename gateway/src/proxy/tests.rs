//! The proxy between a real client and a real server.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, extract::State, response::IntoResponse, routing::any};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use vdi_api::Phase;

use super::*;
use crate::{
    access::ConcurrencyLimit,
    fixture::session,
    sessions::{Directory, Session},
};

const HOST: &str = "alice.vdi.example.com";

/// A desktop that echoes each request, and at `/twice` speaks a protocol that sends back every byte twice.
async fn desktop() -> SocketAddr {
    async fn tell(request: Request<Body>) -> String {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        format!("{} {} {:?} {}", head.method, head.uri, head.headers, String::from_utf8_lossy(&body))
    }
    async fn twice(mut request: Request<Body>) -> impl IntoResponse {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let mut byte = [0];
            while io.read_exact(&mut byte).await.is_ok() {
                io.write_all(&[byte[0]; 2]).await.unwrap();
            }
        });
        let headers = [("connection", "upgrade"), ("upgrade", "twice")];
        (StatusCode::SWITCHING_PROTOCOLS, headers)
    }
    serve(Router::new().route("/twice", any(twice)).fallback(tell)).await
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

/// A gateway that lets everybody pass.
async fn gateway(desktop: SocketAddr) -> (SocketAddr, Arc<Directory>) {
    gateway_with(desktop, Arc::<Activity>::default()).await
}

async fn gateway_with(desktop: SocketAddr, activity: Arc<Activity>) -> (SocketAddr, Arc<Directory>) {
    type Everything = (Proxy, Desktop, Arc<Directory>);
    async fn pass(State((proxy, desktop, directory)): State<Everything>, request: Request<Body>) -> Response<Body> {
        let client = Client { address: [192, 0, 2, 7].into(), scheme: "https", authority: HOST };
        let visit = Visit {
            session: Arc::new(session()),
            changes: directory.by_host(HOST).unwrap(),
            permit: ConcurrencyLimit::default().acquire("").unwrap(),
        };
        proxy.pass(request, &desktop, &client, visit).await.unwrap_or_else(|error| {
            let mut answer = Response::new(Body::from(error.to_string()));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        })
    }
    let directory = Arc::new(Directory::default());
    directory.put(session());
    let desktop = Desktop { address: desktop, is_ready: true, tls: false, authorization: None, path: "/".to_owned() };
    let state = (Proxy::new(activity, Tunnels::default()).unwrap(), desktop, directory.clone());
    (serve(Router::new().fallback(pass).with_state(state)).await, directory)
}

/// Sends exactly these bytes, and returns the answer once it contains `end`.
async fn ask(gateway: SocketAddr, request: &str, end: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&answer).contains(end) {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await.unwrap() {
                0 => break,
                count => answer.extend(&bytes[..count]),
            }
        }
    };
    timeout(Duration::from_secs(10), read).await.unwrap();
    (stream, String::from_utf8(answer).unwrap())
}

const UPGRADE: &str = "GET /twice HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: twice\r\n\r\n";

#[tokio::test]
async fn a_request_reaches_the_desktop_as_it_was_and_the_answer_comes_back() {
    let (gateway, _) = gateway(desktop().await).await;
    let request = "POST /vnc.html?path=a%2fb HTTP/1.1\r\nHost: evil\r\nContent-Length: 5\r\n\r\nhello";
    let (_, answer) = ask(gateway, request, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("POST /vnc.html?path=a%2fb ") && answer.ends_with(" hello"), "{answer}");
    assert!(answer.contains(&format!("\"host\": \"{HOST}\"")) && !answer.contains("evil"), "{answer}");
}

#[tokio::test]
async fn an_absolute_address_leads_nowhere_else() {
    let (gateway, _) = gateway(desktop().await).await;
    let (_, answer) = ask(gateway, "GET http://169.254.169.254/latest HTTP/1.1\r\nHost: x\r\n\r\n", "}").await;
    assert!(answer.contains("GET /latest "), "{answer}");
}

/// Request smuggling: with two lengths, one request can be two for a server that believes the other length.
#[tokio::test]
async fn a_request_with_two_lengths_is_one_request_or_none() {
    let (gateway, _) = gateway(desktop().await).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", hidden.len() + 5),
        "Content-Length: 0\r\nContent-Length: 40\r\n\r\n".to_owned(),
        "Content-Length: 0, 40\r\n\r\n".to_owned(),
        "Content-Length: +0\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "X: y\r\n Content-Length: 40\r\n\r\n".to_owned(),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}{hidden}");
        let (_, answer) = ask(gateway, &request, "nothing, but the end").await;
        assert!(!answer.contains("GET /hidden"), "{request}\n\n{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request}\n\n{answer}");
    }
}

#[tokio::test]
async fn another_protocol_goes_through_in_both_directions_and_is_cut_when_the_session_ends() {
    let (gateway, directory) = gateway(desktop().await).await;
    let (mut stream, answer) = ask(gateway, UPGRADE, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    stream.write_all(b"ab").await.unwrap();
    let mut echo = [0; 4];
    timeout(Duration::from_secs(10), stream.read_exact(&mut echo)).await.unwrap().unwrap();
    assert_eq!(&echo, b"aabb");

    directory.put(Session { phase: Phase::Terminating, ..session() });
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok() && rest.is_empty(), "{end:?} {rest:?}");
}

#[tokio::test]
async fn input_is_detected_on_its_way_to_the_desktop() {
    let activity = Arc::<Activity>::default();
    let (gateway, _) = gateway_with(desktop().await, activity.clone()).await;
    let (mut stream, _) = ask(gateway, UPGRADE, "\r\n\r\n").await;
    // Masked with zeros: the version, an update request, and a key.
    let version = [&[0x82, 0x8c, 0, 0, 0, 0][..], b"RFB 003.008\n"].concat();
    let update = [0x82, 0x8a, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 4, 0, 3, 0];
    let key = [0x82, 0x88, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0x61];
    for (frame, is_input) in [(&version[..], false), (&update, false), (&key, true)] {
        stream.write_all(frame).await.unwrap();
        let mut echo = vec![0; 2 * frame.len()];
        timeout(Duration::from_secs(10), stream.read_exact(&mut echo)).await.unwrap().unwrap();
        let inputs = activity.since_last_input(Instant::now());
        assert_eq!(inputs.contains_key(&session().uid), is_input, "{frame:?}");
    }
}

#[tokio::test]
async fn a_desktop_that_switches_protocols_without_being_asked_is_an_error() {
    let (gateway, _) = gateway(desktop().await).await;
    for request in
        [UPGRADE.replace("Upgrade: twice", "Upgrade: websocket"), UPGRADE.replace("Connection: Upgrade\r\n", "")]
    {
        let (_, answer) = ask(gateway, &request, "asked").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
}

#[tokio::test]
async fn an_unreachable_desktop_is_an_error_and_not_a_wait() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (gateway, _) = gateway(nobody).await;
    let (_, answer) = ask(gateway, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "reached").await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("the desktop can't be reached"), "{answer}");
}

#[test]
fn a_request_goes_to_the_desktops_address_whatever_its_path() {
    let desktop = Desktop {
        address: "10.1.2.3:6080".parse().unwrap(),
        is_ready: true,
        tls: false,
        authorization: None,
        path: "/".to_owned(),
    };
    for (path, expected) in [
        ("/", "http://10.1.2.3:6080/"),
        ("//evil.com/x", "http://10.1.2.3:6080//evil.com/x"),
        ("/@evil.com", "http://10.1.2.3:6080/@evil.com"),
        ("/../../x?y=http://evil.com", "http://10.1.2.3:6080/../../x?y=http://evil.com"),
    ] {
        assert_eq!(uri(&desktop, Some(&path.parse().unwrap())).unwrap().to_string(), expected);
    }
    assert_eq!(uri(&desktop, None).unwrap().to_string(), "http://10.1.2.3:6080/");
}
