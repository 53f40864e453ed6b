use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use futures::stream::BoxStream;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::*;

type Lines = BoxStream<'static, io::Result<Frame<Bytes>>>;

/// An answer of the API server.
enum Answer {
    List(Value),
    Refused(u16),
    /// Lines, each after this many seconds, and the number of seconds from the last one to the end.
    Watch(Vec<(u64, String)>, u64),
}

impl Answer {
    fn response(self) -> Response<StreamBody<Lines>> {
        let (status, lines): (u16, Lines) = match self {
            Self::List(list) => (200, stream::iter([line(list.to_string())]).boxed()),
            Self::Refused(code) => {
                let status = json!({ "kind": "Status", "status": "Failure", "message": "refused", "code": code });
                (code, stream::iter([line(status.to_string())]).boxed())
            }
            Self::Watch(lines, end) => {
                let end = stream::once(tokio::time::sleep(Duration::from_secs(end))).filter_map(async |()| None);
                let lines = stream::iter(lines).then(async |(after, event)| {
                    tokio::time::sleep(Duration::from_secs(after)).await;
                    line(event)
                });
                (200, lines.chain(end).boxed())
            }
        };
        Response::builder().status(status).body(StreamBody::new(lines)).unwrap()
    }
}

fn line(text: String) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from(text + "\n")))
}

fn pod(name: &str, version: &str) -> Value {
    let metadata = json!({ "name": name, "namespace": "team", "resourceVersion": version });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata })
}

fn list(names: &[&str], version: &str, rest: &str) -> Answer {
    let items: Vec<_> = names.iter().map(|name| pod(name, version)).collect();
    let metadata = json!({ "resourceVersion": version, "continue": rest });
    Answer::List(json!({ "apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": items }))
}

/// With its type first, as the API server writes it.
fn event(kind: &str, object: Value) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

fn bookmark(version: &str) -> String {
    event("BOOKMARK", json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "resourceVersion": version } }))
}

/// What the watch yields for these answers, and the queries that it sent. No answer comes after the last one.
async fn run(answers: Vec<Answer>) -> (Vec<String>, Vec<String>) {
    let (answers, queries) = (Mutex::new(VecDeque::from(answers)), Arc::new(Mutex::new(Vec::new())));
    let sent = queries.clone();
    let server = tower::service_fn(move |request: Request<Body>| {
        sent.lock().unwrap().push(request.uri().query().unwrap_or_default().to_owned());
        let answer = answers.lock().unwrap().pop_front();
        async move {
            match answer {
                Some(answer) => Ok::<_, io::Error>(answer.response()),
                None => std::future::pending().await,
            }
        }
    });
    let pods: Api<Lenient<Pod>> = Api::all(Client::new(server, "team"));
    let mut events = std::pin::pin!(watch(pods, Some("ours=true")));
    let mut items = Vec::new();
    // Time is paused, and advances when everything waits.
    while let Ok(Some(event)) = timeout(Duration::from_secs(20), events.next()).await {
        items.push(match event {
            Ok(WatchItem::Unchanged) => "no change".to_owned(),
            Ok(WatchItem::Event(Event::Init)) => "init".to_owned(),
            Ok(WatchItem::Event(Event::InitDone)) => "done".to_owned(),
            Ok(WatchItem::Event(Event::InitApply(Lenient::Parsed(pod)))) => format!("there is {}", pod.name_any()),
            Ok(WatchItem::Event(Event::Apply(Lenient::Parsed(pod)))) => format!("{} changed", pod.name_any()),
            Ok(WatchItem::Event(Event::Delete(Lenient::Parsed(pod)))) => format!("{} is gone", pod.name_any()),
            Ok(WatchItem::Event(event)) => format!("{event:?}"),
            Err(_) => "error".to_owned(),
        });
    }
    let queries = queries.lock().unwrap().clone();
    (items, queries)
}

fn begins_at(query: &str, version: &str) -> bool {
    query.contains("watch=true") && query.contains(&format!("resourceVersion={version}&"))
        || query.ends_with(&format!("resourceVersion={version}"))
}

#[tokio::test(start_paused = true)]
async fn a_paged_list_is_reported_as_one() {
    let (items, queries) = run(vec![list(&["a"], "7", "more"), list(&["b"], "7", "")]).await;
    assert_eq!(items, ["init", "there is a", "there is b", "done"]);
    assert!(!queries[0].contains("continue") && queries[1].contains("continue=more"), "{queries:?}");
    assert!(queries[..2].iter().all(|query| query.contains("labelSelector=ours%3Dtrue")), "{queries:?}");
    assert!(begins_at(&queries[2], "7"), "{queries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_reports_changes_and_bookmarks_and_resumes_where_it_was() {
    let changes = vec![
        (0, event("ADDED", pod("a", "8"))),
        (1, event("MODIFIED", pod("a", "9"))),
        (1, event("DELETED", pod("a", "10"))),
        (2, bookmark("11")),
    ];
    let (items, queries) = run(vec![list(&[], "7", ""), Answer::Watch(changes, 1)]).await;
    assert_eq!(items, ["init", "done", "a changed", "a changed", "a is gone", "no change", "no change"]);
    assert!(begins_at(&queries[2], "11"), "{queries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ran_its_full_time_is_a_sign_of_life_and_one_that_was_cut_off_is_not() {
    let lists = || list(&[], "7", "");
    assert_eq!(run(vec![lists(), Answer::Watch(vec![], 5)]).await.0, ["init", "done", "no change"]);
    assert_eq!(run(vec![lists(), Answer::Watch(vec![], 2)]).await.0, ["init", "done"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_no_sign_of_life_and_the_watch_resumes_at_the_same_version() {
    for code in [401, 403, 429, 500, 503] {
        let (items, queries) = run(vec![Answer::Refused(code), list(&[], "7", ""), Answer::Refused(code)]).await;
        assert_eq!(items, ["error", "init", "done", "error"], "{code}");
        assert!(begins_at(&queries[3], "7"), "{code}: {queries:?}");
        let status = json!({ "kind": "Status", "status": "Failure", "message": "refused", "code": code });
        let midway = Answer::Watch(vec![(0, event("ERROR", status))], 5);
        let (items, queries) = run(vec![list(&[], "7", ""), midway]).await;
        assert_eq!(items, ["init", "done", "error"], "{code}");
        assert!(begins_at(&queries[2], "7"), "{code}: {queries:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_starts_a_new_list() {
    let gone = json!({ "kind": "Status", "status": "Failure", "message": "too old", "reason": "Expired", "code": 410 });
    for answer in [Answer::Refused(410), Answer::Watch(vec![(0, event("ERROR", gone))], 5)] {
        let (items, queries) = run(vec![list(&["a"], "7", ""), answer, list(&["b"], "99", "")]).await;
        assert_eq!(items, ["init", "there is a", "done", "error", "init", "there is b", "done"]);
        assert!(!queries[2].contains("watch") && begins_at(&queries[3], "99"), "{queries:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_watch_is_given_up_and_is_no_sign_of_life() {
    let (items, queries) = run(vec![list(&[], "7", ""), Answer::Watch(vec![], 1000)]).await;
    assert_eq!(items, ["init", "done"]);
    assert!(queries.len() > 2 && begins_at(&queries[2], "7"), "{queries:?}");
}
