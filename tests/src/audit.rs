//! The requests that the API server received, from its audit log.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use vdi_cluster::{ControlPlane, User};

/// How often each request was made, such as `create pods` or `patch vdisessions/status`.
pub type Requests = BTreeMap<String, usize>;

/// A user's requests in a namespace, successful or not.
pub fn requests(cluster: &ControlPlane, user: &User, namespace: &str) -> Result<Requests> {
    let mut requests = Requests::new();
    for request in since(cluster, 0)? {
        if request.user == user.name && request.namespace == namespace {
            *requests.entry(request.what()).or_default() += 1;
        }
    }
    Ok(requests)
}

/// A request that was answered, or a watch that has started.
#[derive(Debug)]
pub struct Request {
    pub user: String,
    pub verb: String,
    /// With its subresource, such as `pods/status`.
    pub resource: String,
    /// Empty if there is none.
    pub namespace: String,
    /// Empty for lists, and for an object that is created.
    pub name: String,
}

impl Request {
    pub fn what(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    /// Whether an idle controller makes such requests too: it restarts watches and renews its lease.
    pub fn is_of_the_idle(&self) -> bool {
        self.verb == "watch" || self.resource == "leases"
    }
}

/// The current length of the log.
pub fn end(cluster: &ControlPlane) -> Result<u64> {
    let log = cluster.audit_log();
    Ok(log.metadata().with_context(|| format!("can't read {}", log.display()))?.len())
}

/// All requests since a position in the log.
pub fn since(cluster: &ControlPlane, start: u64) -> Result<Vec<Request>> {
    between(cluster, start, end(cluster)?)
}

/// All requests between two positions in the log.
pub fn between(cluster: &ControlPlane, start: u64, end: u64) -> Result<Vec<Request>> {
    let log = cluster.audit_log();
    let read = || {
        let mut file = File::open(&log)?;
        file.seek(SeekFrom::Start(start))?;
        let mut text = String::new();
        file.take(end - start).read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = read().with_context(|| format!("can't read {}", log.display()))?;
    // The last line may be incomplete.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| parse(line).transpose()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    stage: Cow<'a, str>,
    verb: Cow<'a, str>,
    user: UserInfo<'a>,
    #[serde(default)]
    object_ref: ObjectRef<'a>,
}

#[derive(Deserialize)]
struct UserInfo<'a> {
    #[serde(borrow, default)]
    username: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct ObjectRef<'a> {
    #[serde(borrow, default)]
    resource: Cow<'a, str>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

/// The request in a line of the log. `None` for the end of a watch, which is there with its start as well.
fn parse(line: &str) -> Result<Option<Request>> {
    let Event { stage, verb, user, object_ref } = serde_json::from_str(line).context("in the audit log")?;
    if verb == "watch" && stage == "ResponseComplete" {
        return Ok(None);
    }
    let slash = if object_ref.subresource.is_empty() { "" } else { "/" };
    Ok(Some(Request {
        user: user.username.into_owned(),
        verb: verb.into_owned(),
        resource: format!("{}{slash}{}", object_ref.resource, object_ref.subresource),
        namespace: object_ref.namespace.into_owned(),
        name: object_ref.name.into_owned(),
    }))
}

/// All requests of a user, each an `audit.k8s.io/v1` Event.
pub fn events(log: &Path, user: &User) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("can't read {}", log.display()))?;
    let mut events = Vec::new();
    // The last line may be incomplete.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let event: Value = serde_json::from_str(line)?;
        if event["user"]["username"] == user.name {
            events.push(event);
        }
    }
    Ok(events)
}

/// A verb and a resource, such as `patch vdisessions/status`.
pub fn request(event: &Value) -> String {
    let object = &event["objectRef"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subresource = object["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
    format!("{} {}{subresource}", word(&event["verb"]), word(&object["resource"]))
}
