//! The clients for the API server: every request passes through here.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, DynBody},
};
use tower::{BoxError, Layer, Service};
use tracing::{Instrument, field::Empty};

use super::{
    clock::Clock,
    write_gate::{Closed, WriteGate},
};
use crate::telemetry::Counters;

/// Long enough to list everything in a large cluster.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What the clients of this process share.
pub struct Connection {
    config: Config,
    clock: Arc<Clock>,
    counters: Counters,
}

impl Connection {
    /// To the cluster that KUBECONFIG or ~/.kube/config names, or, inside a pod, to its own. `identity` tells replicas apart in the API
    /// server's audit log.
    pub async fn infer(identity: &str, clock: Arc<Clock>, counters: Counters) -> anyhow::Result<Self> {
        let mut config = Config::infer().await.context("no cluster to talk to: set KUBECONFIG, or run in a pod")?;
        let agent = format!("vdi-controller/{} ({identity})", env!("CARGO_PKG_VERSION"));
        config.headers.push((header::USER_AGENT, HeaderValue::from_str(&agent)?));
        Ok(Self { config, clock, counters })
    }

    /// A client that writes while `write_gate` is open, and gives up on a write after `write_timeout`, in whole seconds.
    pub fn client(&self, write_gate: WriteGate, write_timeout: Duration) -> Result<Client, kube::Error> {
        let Self { config, clock, counters } = self;
        let layer = Instrumented { clock: clock.clone(), counters: counters.clone(), write_gate, write_timeout };
        // A request that has passed the layer waits for its turn in the connection's own task, so that goes through the gate too.
        let connections = layer.write_gate.clone();
        Ok(ClientBuilder::try_from((config.clone(), connections))?.with_layer(&layer).build())
    }
}

#[derive(Clone)]
struct Instrumented {
    clock: Arc<Clock>,
    counters: Counters,
    write_gate: WriteGate,
    write_timeout: Duration,
}

impl<S> Layer<S> for Instrumented {
    type Service = InstrumentedService<S>;

    fn layer(&self, inner: S) -> InstrumentedService<S> {
        InstrumentedService { layer: self.clone(), inner }
    }
}

struct InstrumentedService<S> {
    layer: Instrumented,
    inner: S,
}

type Answer = Response<Box<DynBody>>;

#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {0:?}")]
struct Timeout(Duration);

impl<S> Service<Request<Body>> for InstrumentedService<S>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let layer = self.layer.clone();
        let about = About::of(request.method(), request.uri());
        if about.writes {
            if !layer.write_gate.is_open() {
                return async { Err(Closed.into()) }.boxed();
            }
            limit(request.uri_mut(), layer.write_timeout);
        }
        // By the conventions for HTTP clients: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
        let span = tracing::debug_span!(
            "request",
            otel.name = format!("{} {}", about.verb, about.resource),
            otel.kind = "client",
            http.request.method = request.method().as_str(),
            url.path = request.uri().path(),
            http.response.status_code = Empty,
            otel.status_code = Empty,
        );
        let answer = span.in_scope(|| self.inner.call(request));
        let answer = async move {
            let answer = match about.verb {
                "watch" => answer.await,
                _ if about.writes => match layer.write_gate.guard(whole(answer, layer.write_timeout)).await {
                    Ok(answer) => answer,
                    Err(closed) => Err(closed.into()),
                },
                _ => whole(answer, READ_TIMEOUT).await,
            };
            layer.record(about, &answer);
            answer
        };
        answer.instrument(span).boxed()
    }
}

impl Instrumented {
    /// Records the answer: metrics, the span, and the API server's clock.
    fn record(&self, about: About, answer: &Result<Answer, BoxError>) {
        self.counters.request(about.verb, about.resource, class(answer));
        let span = tracing::Span::current();
        if !answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            span.record("otel.status_code", "ERROR");
        }
        let Ok(answer) = answer else { return };
        // As i64: other integers arrive as text.
        span.record("http.response.status_code", i64::from(answer.status().as_u16()));
        if let Some(date) = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok()) {
            self.clock.set(date);
        }
    }
}

/// The answer with its whole body, within a time limit.
async fn whole(answer: impl Future<Output = Result<Answer, BoxError>>, limit: Duration) -> Result<Answer, BoxError> {
    let whole = async {
        let (head, body) = answer.await?.into_parts();
        let body = Full::new(body.collect().await?.to_bytes()).map_err(BoxError::from);
        Ok(Response::from_parts(head, Box::new(body) as Box<DynBody>))
    };
    tokio::time::timeout(limit, whole).await.map_err(|_| Timeout(limit))?
}

/// Has the API server give up on a write when the client does, so that none happens long after it was requested.
fn limit(uri: &mut Uri, timeout: Duration) {
    let mut parts = uri.clone().into_parts();
    let (path, query) = (uri.path(), uri.query().map(|query| format!("{query}&")).unwrap_or_default());
    parts.path_and_query = format!("{path}?{query}timeout={}s", timeout.as_secs()).parse().ok();
    if let Ok(limited) = Uri::from_parts(parts) {
        *uri = limited;
    }
}

fn class(answer: &Result<Answer, BoxError>) -> &'static str {
    match answer.as_ref().map(|answer| answer.status().as_u16() / 100) {
        Ok(1) => "1xx",
        Ok(2) => "2xx",
        Ok(3) => "3xx",
        Ok(4) => "4xx",
        Ok(5) => "5xx",
        _ => "none",
    }
}

/// A request, in RBAC's terms.
#[derive(Debug, PartialEq)]
struct About {
    verb: &'static str,
    /// Such as `vdisessions/status`.
    resource: String,
    writes: bool,
}

impl About {
    /// <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#request-verb-resource>
    fn of(method: &Method, uri: &Uri) -> Self {
        let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let rest = match &segments[..] {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let (resource, name, subresource) = match rest {
            ["namespaces", _, resource, rest @ ..] => (*resource, rest.first(), rest.get(1)),
            [resource, rest @ ..] => (*resource, rest.first(), rest.get(1)),
            [] => ("", None, None),
        };
        let is_watch = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        let verb = match method.as_str() {
            "GET" if is_watch => "watch",
            "GET" if name.is_none() => "list",
            "GET" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "other",
        };
        let resource = match subresource {
            Some(subresource) => format!("{resource}/{subresource}"),
            None => resource.to_owned(),
        };
        Self { verb, resource, writes: method != Method::GET }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_as_rbac_names_it() {
        for (method, uri, verb, resource) in [
            (
                Method::GET,
                "/apis/vdi.kasm.io/v1alpha1/vdisessions?watch=true&timeoutSeconds=290",
                "watch",
                "vdisessions",
            ),
            (Method::GET, "/api/v1/pods?labelSelector=a&limit=500", "list", "pods"),
            (Method::GET, "/api/v1/namespaces/team/pods/vdi-a", "get", "pods"),
            (Method::POST, "/api/v1/namespaces/team/pods?", "create", "pods"),
            (Method::DELETE, "/api/v1/namespaces/team/pods/vdi-a?", "delete", "pods"),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/system/leases/a", "update", "leases"),
            (
                Method::PATCH,
                "/apis/vdi.kasm.io/v1alpha1/namespaces/team/vdisessions/a/status?",
                "patch",
                "vdisessions/status",
            ),
            (Method::GET, "/version", "list", ""),
        ] {
            let about = About::of(&method, &uri.parse().unwrap());
            assert_eq!((about.verb, &*about.resource), (verb, resource), "{method} {uri}");
            assert_eq!(about.writes, method != Method::GET);
        }
    }

    #[test]
    fn the_api_server_learns_when_the_client_gives_up_on_a_write() {
        for (uri, limited) in [("/pods", "/pods?timeout=5s"), ("/pods?a=b", "/pods?a=b&timeout=5s")] {
            let mut uri = uri.parse().unwrap();
            limit(&mut uri, Duration::from_secs(5));
            assert_eq!(uri, limited);
        }
    }
}
