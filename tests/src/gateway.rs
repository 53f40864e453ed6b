//! A running gateway, and somebody at a browser in front of it.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{COOKIE, HOST, SET_COOKIE},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use vdi_cluster::{Launch, Server, User};

use crate::{
    replica::Replica,
    stack::{Stack, gateway, program},
};

/// Desktops in tests and in the demo are one label below. Browsers look names of this kind up nowhere: they are this machine.
pub const DOMAIN: &str = "vdi.localhost";

/// A gateway on loopback, with a certificate of the cluster's authority. Dropping it stops it.
pub struct Gateway {
    pub replica: Replica,
    address: SocketAddr,
    public_port: u16,
}

/// Where one listens, and what else is special about it.
pub struct GatewayLaunch {
    /// Its log is `<name>.log`.
    pub name: &'static str,
    pub port: u16,
    /// The port in the public address; with several replicas, that of whatever is before them.
    pub public_port: u16,
    pub flags: Vec<String>,
}

impl Gateway {
    pub async fn start(stack: &Stack, launch: GatewayLaunch) -> Result<Self> {
        let GatewayLaunch { name, port, public_port, flags } = launch;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (certificate, key) = stack.cluster.certificate(name, &[DOMAIN, &format!("*.{DOMAIN}")])?;
        let public = format!("https://{DOMAIN}:{public_port}");
        let settings = [
            ("--listen", address.to_string()),
            ("--operations-listen", "127.0.0.1:0".to_owned()),
            ("--public-url", public),
            ("--tls-cert", certificate.display().to_string()),
            ("--tls-key", key.display().to_string()),
            ("--namespace", "vdiwarden-system".to_owned()),
        ];
        let settings = settings.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let program = program("vdi-gateway");
        let launch = Launch {
            arguments: settings.chain(flags).map(Into::into).collect(),
            environment: vec![("KUBECONFIG", stack.cluster.kubeconfig(&gateway())?.into())],
            ..Launch::new(name, &program)
        };
        let server = Server::start(&stack.cluster.logs(), launch)?;
        let log = stack.cluster.logs().join(name).with_extension("log");
        let mut replica = Replica::new(server, log, "operations");
        replica.wait_until_ready().await?;
        Ok(Self { replica, address, public_port })
    }

    /// With its port, as browsers have it in the address.
    pub fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.public_port)
    }

    /// A connection of its own: TLS, HTTP/1.1.
    pub async fn connect(&self, host: &str) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.context("connecting to the gateway")?;
        let tls = TlsConnector::from(Arc::new(vdi_service::any_certificate::client()?));
        Ok(tls.connect(host.to_owned().try_into()?, stream).await?)
    }

    async fn sender(&self, host: &str) -> Result<SendRequest<Full<Bytes>>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.connect(host).await?)).await?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// Asks for a link to a session, as a user of the cluster.
    pub async fn launch(&self, stack: &Stack, user: &User, namespace: &str, name: &str) -> Result<Answer> {
        let token = stack.cluster.token(user)?;
        let body = json!({ "namespace": namespace, "name": name }).to_string();
        let headers = [("authorization", format!("Bearer {token}"))];
        Visitor::default().ask(self, DOMAIN, Method::POST, "/launch", &headers, body).await
    }
}

/// A port that nothing listens at, for something that is about to. Nobody can reserve one.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The link of an answer of /launch: its host, and the code behind its `#`.
    pub fn link(&self) -> Result<(String, String)> {
        ensure!(self.status == 200, "{}: {}", self.status, self.body);
        let answer: Value = serde_json::from_str(&self.body)?;
        let url = answer["url"].as_str().context("no url")?;
        let (address, code) = url.split_once('#').context("no code")?;
        let host = address.strip_prefix("https://").and_then(|rest| rest.split(':').next()).context("no host")?;
        Ok((host.to_owned(), code.to_owned()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Somebody at a browser: it keeps cookies, by host, and says of which page a request is.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    pub cookies: HashMap<String, String>,
}

impl Visitor {
    /// Opens a page at a host, in a tab.
    pub async fn open(&mut self, gateway: &Gateway, host: &str, path: &str) -> Result<Answer> {
        let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-site", "none")];
        let headers = navigation.map(|(name, value)| (name, value.to_owned()));
        self.ask(gateway, host, Method::GET, path, &headers, String::new()).await
    }

    /// What a page at the host asks for.
    pub async fn get(&mut self, gateway: &Gateway, host: &str, path: &str) -> Result<Answer> {
        self.ask(gateway, host, Method::GET, path, &[], String::new()).await
    }

    pub async fn post(&mut self, gateway: &Gateway, host: &str, path: &str, body: &str) -> Result<Answer> {
        let headers = [("origin", format!("https://{}", gateway.authority(host)))];
        self.ask(gateway, host, Method::POST, path, &headers, body.to_owned()).await
    }

    /// Follows a link that was asked for by a user of the cluster: from then on, the visitor is signed in at the host.
    pub async fn enter(
        gateway: &Gateway,
        stack: &Stack,
        user: &User,
        namespace: &str,
        name: &str,
    ) -> Result<(Self, String)> {
        let (host, code) = gateway.launch(stack, user, namespace, name).await?.link()?;
        let mut visitor = Self::default();
        let answer = visitor.post(gateway, &host, "/.vdi/enter", &code).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
        Ok((visitor, host))
    }

    pub async fn ask(
        &mut self,
        gateway: &Gateway,
        host: &str,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Result<Answer> {
        let response = self.send(gateway, host, method, path, headers, body).await?;
        let (head, body) = response.into_parts();
        let body =
            tokio::time::timeout(Duration::from_secs(30), body.collect()).await.context("no end of an answer")??;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// The answer once it has begun.
    pub async fn send(
        &mut self,
        gateway: &Gateway,
        host: &str,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, gateway.authority(host));
        if let Some(cookie) = self.cookies.get(host) {
            request = request.header(COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let response = gateway.sender(host).await?.send_request(request).await?;
        if let Some(cookie) = response.headers().get(SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            self.cookies.insert(host.to_owned(), pair.to_owned());
        }
        Ok(response)
    }
}
