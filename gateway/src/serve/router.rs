//! Routes a browser's request to the portal or to one desktop.

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{body::Body, response::Response};
use http::{HeaderValue, Method, Request, StatusCode, header::STRICT_TRANSPORT_SECURITY};

use super::{access_log::Entry, desktop, gateway::Gateway, portal, refusal::Refusal};
use crate::{
    pages::text,
    proxy::Client,
    request::{Scheme, Site, authority, origin::is_service_worker},
};

/// Answers a browser's request. `address` is the browser's.
pub async fn answer(gateway: Arc<Gateway>, address: IpAddr, request: Request<Body>) -> Response {
    let (start, entry) = (Instant::now(), Entry::of(&request, address));
    let mut answer = route(&gateway, address, request).await;
    if gateway.public.scheme() == Scheme::Https {
        let one_year = HeaderValue::from_static("max-age=31536000");
        answer.headers_mut().insert(STRICT_TRANSPORT_SECURITY, one_year);
    }
    entry.log(&answer, start.elapsed());
    gateway.metrics.answered(answer.status(), start.elapsed());
    answer
}

async fn route(gateway: &Arc<Gateway>, address: IpAddr, request: Request<Body>) -> Response {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    }
    let Some(authority) = authority(&request).map(str::to_owned) else {
        return text(StatusCode::BAD_REQUEST, "a request must name exactly one host");
    };
    if is_service_worker(request.headers()) {
        return gateway.refuse(Refusal::service_worker());
    }
    let client = Client { address, scheme: gateway.public.scheme().name(), authority: &authority };
    let answer = match gateway.public.site(&authority) {
        Some(Site::Portal) => portal::answer(gateway.clone(), request).await,
        Some(Site::Desktop(host)) => desktop::answer(gateway, &host, client, request).await,
        None => Err(Refusal::message(StatusCode::MISDIRECTED_REQUEST, "no such host at this gateway")),
    };
    answer.unwrap_or_else(|refusal| gateway.refuse(refusal))
}
