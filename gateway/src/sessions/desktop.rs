//! Where a session's desktop is, as its pod says.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{ResourceExt, api::ObjectMeta};
use serde::Deserialize;
use vdi_api::{
    Activity, Protocol, Timeout,
    desktop_pod::{ACTIVITY, IDLE_TIMEOUT, PATH, PORT, PROTOCOL},
};
use vdi_service::{LoginKeys, Reach, lenient::metadata, same_resource};

use super::{basic_auth::BasicAuth, obstacle::Obstacle};

#[derive(Clone, Debug, PartialEq)]
pub struct Desktop {
    pub address: SocketAddr,
    /// Whether it answers its node's probes.
    pub is_ready: bool,
    /// Whether it speaks TLS, with a self-signed certificate.
    pub tls: bool,
    /// The `Authorization` header to send; `None` if the desktop needs none, or if its key is unknown here.
    pub authorization: Option<HeaderValue>,
    /// The path of its page, which the gateway's own page at `/` shows.
    pub path: String,
}

/// The parts of a pod that the gateway reads.
#[derive(Clone, Debug, Deserialize)]
pub struct PartialPod {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

same_resource!(PartialPod, Pod);

/// What the gateway keeps of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct DesktopPod {
    pub namespace: String,
    pub name: String,
    /// The uids of the sessions that own the pod: one, unless somebody has edited it.
    pub owners: Vec<String>,
    pub idle_timeout: Option<Timeout>,
    pub activity: Activity,
    basic_auth: Option<BasicAuth>,
    /// `None` while the pod has no address, once it is deleted, and if something prevents it.
    pub desktop: Option<Desktop>,
    pub obstacle: Option<Obstacle>,
}

impl DesktopPod {
    pub fn of(pod: &PartialPod, reach: &Reach) -> Self {
        let is_session = |owner: &&OwnerReference| {
            owner.kind == "VDISession" && owner.api_version.split('/').next() == Some(vdi_api::GROUP)
        };
        let (desktop, obstacle) = match desktop(pod, reach) {
            Ok(desktop) => (desktop, None),
            Err(obstacle) => (None, Some(obstacle)),
        };
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            owners: pod.owner_references().iter().filter(is_session).map(|owner| owner.uid.clone()).collect(),
            basic_auth: BasicAuth::of(pod.annotations()),
            idle_timeout: pod.annotations().get(IDLE_TIMEOUT).and_then(|text| text.parse().ok()),
            activity: pod.annotations().get(ACTIVITY).and_then(|name| name.parse().ok()).unwrap_or_default(),
            desktop,
            obstacle,
        }
    }

    pub(super) fn desktop_of(&self, session_uid: &str, keys: &LoginKeys) -> Option<Desktop> {
        let authorization = self.basic_auth.as_ref().and_then(|auth| auth.authorization(session_uid, keys));
        Some(Desktop { authorization, ..self.desktop.clone()? })
    }
}

fn desktop(pod: &PartialPod, reach: &Reach) -> Result<Option<Desktop>, Obstacle> {
    // With host networking, the address is the node's, where other programs listen too.
    if pod.metadata.deletion_timestamp.is_some() || pod.spec.host_network == Some(true) {
        return Ok(None);
    }
    let Some(protocol) = pod.annotations().get(PROTOCOL) else { return Ok(None) };
    let protocol: Protocol = protocol.parse().map_err(|_| Obstacle::Protocol(protocol.clone()))?;
    let Some(address) = address(pod) else { return Ok(None) };
    if !reach.includes(address.ip()) {
        return Err(Obstacle::Address(address.ip()));
    }
    let is_ready =
        pod.status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let path = pod.annotations().get(PATH).filter(|path| path.starts_with('/')).map_or("/", |path| path);
    let tls = protocol == Protocol::Https;
    Ok(Some(Desktop { address, is_ready, tls, authorization: None, path: path.to_owned() }))
}

fn address(pod: &PartialPod) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(ip, pod.annotations().get(PORT)?.parse().ok()?))
}
