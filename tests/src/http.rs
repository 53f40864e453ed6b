//! Plain HTTP, as a probe or a scraper speaks it.

use std::net::SocketAddr;

use anyhow::Result;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

/// GET: the status and the body.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let client: Client<_, Empty<axum::body::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.get(format!("http://{address}{path}").parse()?).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.into())?))
}
