//! Plain HTTP, like a probe or a scraper.

use std::net::SocketAddr;

use anyhow::Result;
use axum::body::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Incoming, header::AUTHORIZATION};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use crate::wait::within;

/// Sends a GET. Returns status and body.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    ask(Request::get(format!("http://{address}{path}")).body(Empty::new())?).await
}

/// The same with a bearer token.
pub async fn get_with_token(address: SocketAddr, path: &str, token: &str) -> Result<(u16, String)> {
    let request = Request::get(format!("http://{address}{path}")).header(AUTHORIZATION, format!("Bearer {token}"));
    ask(request.body(Empty::new())?).await
}

/// Sends any request without a body. Returns the response without waiting for its body.
pub async fn send(request: Request<Empty<Bytes>>) -> Result<Response<Incoming>> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    Ok(within("the answer to a request", client.request(request)).await??)
}

async fn ask(request: Request<Empty<Bytes>>) -> Result<(u16, String)> {
    let response = send(request).await?;
    let status = response.status().as_u16();
    let body = within("the end of an answer", response.into_body().collect()).await??.to_bytes();
    Ok((status, String::from_utf8(body.into())?))
}
