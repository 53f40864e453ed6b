//! A user's browser, without scripts: it follows redirects and keeps cookies.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};
use url::Url;

use crate::{entrance::Entrance, gateway::DOMAIN, wait::within};

/// Keeps cookies by host, and sends the headers that tell which page a request comes from.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    cookies: HashMap<String, BTreeMap<String, String>>,
}

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    async fn of(response: Response<Incoming>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let body =
            tokio::time::timeout(Duration::from_secs(30), body.collect()).await.context("no end of an answer")??;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Self { status: head.status, headers: head.headers, body })
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

async fn answer(request: impl Future<Output = hyper::Result<Response<Incoming>>>) -> Result<Response<Incoming>> {
    Ok(within("the answer to a request", request).await??)
}

const NAVIGATION: [(&str, &str); 3] =
    [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-site", "none")];

impl Visitor {
    /// Navigates to a page at a host.
    pub async fn open(&mut self, gateway: &Entrance, host: &str, path: &str) -> Result<Answer> {
        let headers = NAVIGATION.map(|(name, value)| (name, value.to_owned()));
        self.ask(gateway, host, Method::GET, path, &headers, String::new()).await
    }

    /// Sends a GET like a page at the host.
    pub async fn get(&mut self, gateway: &Entrance, host: &str, path: &str) -> Result<Answer> {
        self.ask(gateway, host, Method::GET, path, &[], String::new()).await
    }

    pub async fn post(&mut self, gateway: &Entrance, host: &str, path: &str, body: &str) -> Result<Answer> {
        let headers = [("origin", format!("https://{}", gateway.authority(host)))];
        self.ask(gateway, host, Method::POST, path, &headers, body.to_owned()).await
    }

    /// Waits until the gateway proxies to the desktop, a [fake one](crate::fake_desktop).
    pub async fn until_at_desktop(&mut self, gateway: &Entrance, host: &str) -> Result<Answer> {
        self.until(gateway, host, |answer| answer.body.starts_with("a desktop was asked")).await
    }

    /// Repeats a GET until the answer is as wanted.
    pub async fn until(&mut self, gateway: &Entrance, host: &str, wanted: impl Fn(&Answer) -> bool) -> Result<Answer> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.get(gateway, host, "/").await?;
            if wanted(&answer) {
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "{answer:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn ask(
        &mut self,
        gateway: &Entrance,
        host: &str,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Result<Answer> {
        Answer::of(self.send(gateway, host, method, path, headers, body).await?).await
    }

    /// The response, without waiting for its body.
    pub async fn send(
        &mut self,
        gateway: &Entrance,
        host: &str,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder().method(method).uri(path).header(HOST, gateway.authority(host));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.exchange(Some(gateway), host, request.body(Full::new(Bytes::from(body)))?).await
    }

    /// Opens an address and follows redirects. Returns the last page and its address. Scripts don't run.
    pub async fn follow(&mut self, gateway: &Entrance, url: &str) -> Result<(Url, Answer)> {
        self.go(gateway, Method::GET, Url::parse(url)?, String::new()).await
    }

    /// Submits a form and follows redirects.
    pub async fn submit(&mut self, gateway: &Entrance, url: &str, form: &[(&str, &str)]) -> Result<(Url, Answer)> {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.go(gateway, Method::POST, Url::parse(url)?, form).await
    }

    async fn go(
        &mut self,
        gateway: &Entrance,
        mut method: Method,
        mut url: Url,
        mut body: String,
    ) -> Result<(Url, Answer)> {
        const MOST: usize = 20;
        for _ in 0..MOST {
            let host = url.host_str().context("no host")?.to_owned();
            let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
            let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
            let mut request = Request::builder().method(method.clone()).uri(path).header(HOST, authority);
            for (name, value) in NAVIGATION {
                request = request.header(name, value);
            }
            if method == Method::POST {
                request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                request = request.header(ORIGIN, url.origin().ascii_serialization());
            }
            let request = request.body(Full::new(Bytes::from(body)))?;
            let is_ours = host == DOMAIN || host.ends_with(&format!(".{DOMAIN}"));
            let gateway = is_ours.then_some(gateway);
            let at = if is_ours { host } else { authority.to_owned() };
            let answer = Answer::of(self.exchange(gateway, &at, request).await?).await?;
            let refresh = answer.body.split("http-equiv=\"refresh\" content=\"0; url=").nth(1);
            let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.or(refresh.and_then(|rest| rest.split('"').next()));
            let Some(to) = to else { return Ok((url, answer)) };
            url = url.join(to)?;
            (method, body) = (Method::GET, String::new());
        }
        bail!("sent from one page to the next, more than {MOST} times")
    }

    /// Sends a request to the gateway or, without one, to the address `at` over plain HTTP.
    async fn exchange(
        &mut self,
        gateway: Option<&Entrance>,
        at: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>> {
        if let Some(cookies) = self.cookies(at) {
            request.headers_mut().insert(COOKIE, cookies.parse()?);
        }
        let response = match gateway {
            Some(gateway) => {
                let (mut sender, connection) = http1::handshake(TokioIo::new(gateway.connect(at).await?)).await?;
                tokio::spawn(connection.with_upgrades());
                answer(sender.send_request(request)).await?
            }
            None => {
                let stream = TcpStream::connect(at).await.with_context(|| format!("connecting to {at}"))?;
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                answer(sender.send_request(request)).await?
            }
        };
        for cookie in response.headers().get_all(SET_COOKIE) {
            self.keep(at, cookie.to_str()?);
        }
        Ok(response)
    }

    fn keep(&mut self, host: &str, cookie: &str) {
        let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
        let Some((name, value)) = pair else { return };
        let jar = self.cookies.entry(host.to_owned()).or_default();
        match value.is_empty() || cookie.contains("Max-Age=0") || cookie.contains("expires=Thu, 01 Jan 1970") {
            true => jar.remove(name),
            false => jar.insert(name.to_owned(), value.to_owned()),
        };
    }

    /// The value of the header `Cookie` for a host.
    pub fn cookies(&self, host: &str) -> Option<String> {
        let jar = self.cookies.get(host).filter(|jar| !jar.is_empty())?;
        Some(jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; "))
    }

    /// Deletes the cookies of a host.
    pub fn forget(&mut self, host: &str) {
        self.cookies.remove(host);
    }

    /// Copies another visitor's cookies from one host to another, like a thief.
    pub fn steal(&mut self, from: &Self, theirs: &str, host: &str) {
        self.cookies.insert(host.to_owned(), from.cookies.get(theirs).cloned().unwrap_or_default());
    }
}
