//! The body of a watch, which can be cut off.

use axum::body::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::broadcast::Receiver;

/// The connection has been closed, on purpose or by the other side.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
pub struct Broken;

/// How a watch is ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// At any point.
    Drop,
    /// With the event 410 Gone, like the API server when it no longer has the events since then.
    Expire,
}

/// What the API server sends, until the watch is cut off.
pub fn until_cut(body: kube::client::Body, cuts: Receiver<Cut>) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    let state = Some((body.into_data_stream(), cuts, true));
    stream::unfold(state, async |state| {
        let (mut data, mut cuts, is_at_line_end) = state?;
        tokio::select! {
            cut = cuts.recv() => Some(match cut {
                Ok(Cut::Expire) if is_at_line_end => (Ok(gone()), None),
                _ => (Err(Broken), None),
            }),
            next = data.next() => Some(match next? {
                Ok(bytes) => {
                    let is_at_line_end = bytes.ends_with(b"\n");
                    (Ok(bytes), Some((data, cuts, is_at_line_end)))
                }
                Err(_) => (Err(Broken), None),
            }),
        }
    })
}

fn gone() -> Bytes {
    let event = json!({ "type": "ERROR", "object": status(410) });
    format!("{event}\n").into()
}

/// The API server's Status for an error.
pub fn status(code: u16) -> serde_json::Value {
    let reason = match code {
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "reason": reason, "message": "a fault that is injected", "code": code,
    })
}
