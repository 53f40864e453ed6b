//! The policy beside the API server, value by value: what the policy takes, the API server takes, and reads as the same.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Value, json};
use vdi_api::{Memory, Timeout, VDISession};
use vdi_cluster::ControlPlane;
use vdi_tests::{
    policy::{
        Played,
        case::{create, valid_session},
        native,
    },
    shared::with_crds,
};

/// Whether the policy takes a session whose field has this value.
fn policy_takes(path: &str, value: &str) -> Result<bool> {
    let mut session = valid_session();
    *session.pointer_mut(path).context("no such field")? = json!(value);
    let host: Played = serde_json::from_value(json!({ "kubernetes/can_i": { "allowed": true } }))?;
    Ok(native::validate(&create(session), &json!({}), &host)?.accepted)
}

/// Whether the API server takes it, without the policy.
async fn api_server_takes(api: &Api<DynamicObject>, path: &str, value: &str) -> Result<bool> {
    let mut session = valid_session();
    *session.pointer_mut(path).context("no such field")? = json!(value);
    session["metadata"] = json!({ "name": "compare" });
    let session: DynamicObject = serde_json::from_value(session)?;
    taken(api.create(&dry_run(), &session).await).map(|session| session.is_some())
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

fn taken<T>(answer: kube::Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Compares the two on all values, and returns those that the policy takes.
async fn compare(cluster: &ControlPlane, path: &'static str, values: Vec<String>) -> Result<Vec<String>> {
    let api = Api::default_namespaced_with(cluster.admin(), &ApiResource::erase::<VDISession>(&()));
    let judged: Vec<(String, bool, bool)> = stream::iter(values)
        .map(async |value| {
            let theirs = api_server_takes(&api, path, &value).await?;
            anyhow::Ok((value.clone(), policy_takes(path, &value)?, theirs))
        })
        .buffer_unordered(8)
        .try_collect()
        .await?;
    let looser: Vec<_> = judged.iter().filter(|(_, ours, theirs)| *ours && !theirs).collect();
    ensure!(looser.is_empty(), "the policy takes what the API server refuses: {looser:#?}");
    let taken: Vec<_> = judged.into_iter().filter(|(_, ours, _)| *ours).map(|(value, ..)| value).collect();
    ensure!(taken.len() > 10, "only {} values were taken", taken.len());
    Ok(taken)
}

fn combinations(parts: &[&[&str]]) -> Vec<String> {
    let empty = vec![String::new()];
    parts.iter().fold(empty, |texts, part| {
        texts.iter().flat_map(|text| part.iter().map(move |more| format!("{text}{more}"))).collect()
    })
}

const SIGNS: &[&str] = &["", "+", "-", " ", "++"];
const NUMBERS: &[&str] = &[
    "",
    "0",
    "1",
    "4",
    "0004",
    "4.5",
    ".5",
    "5.",
    ".",
    "1.2.3",
    "1023",
    "9999999999",
    "0.1",
    "1e3",
    "1_0",
    "0x1",
    "٤",
    "NaN",
];

#[test]
fn quantities() -> Result<()> {
    with_crds(async |cluster| {
        let suffixes: &[&str] = &[
            "", "n", "u", "m", "k", "K", "Ki", "M", "Mi", "G", "Gi", "T", "Ti", "P", "Pi", "E", "Ei", "Z", "gi", "GiB",
            "Gi ", "e3", "E3", "e+3", "e-3", "e", "e400", "\n",
        ];
        let taken = compare(cluster, "/spec/resources/memory", combinations(&[SIGNS, NUMBERS, suffixes])).await?;
        // As the memory limit of a pod it is the same number of bytes.
        let pods: Api<Pod> = Api::default_namespaced(cluster.admin());
        for text in taken {
            let limits = json!({ "memory": text });
            let container = json!({ "name": "a", "image": "b", "resources": { "limits": limits, "requests": limits } });
            let pod = json!({ "metadata": { "name": "compare" }, "spec": { "containers": [container] } });
            let pod = taken_pod(&pods, pod).await?.with_context(|| format!("{text:?} is no memory limit"))?;
            let stored =
                pod["spec"]["containers"][0]["resources"]["limits"]["memory"].as_str().unwrap_or_default().to_owned();
            let (ours, theirs): (Memory, Memory) = (text.parse()?, stored.parse()?);
            ensure!(ours == theirs, "{text:?} is {ours:?} here, and {stored:?} to the API server");
        }
        Ok(())
    })
}

async fn taken_pod(pods: &Api<Pod>, pod: Value) -> Result<Option<Value>> {
    let pod = taken(pods.create(&dry_run(), &serde_json::from_value(pod)?).await)?;
    Ok(pod.map(serde_json::to_value).transpose()?)
}

#[test]
fn durations() -> Result<()> {
    with_crds(async |cluster| {
        let units: &[&str] =
            &["", "ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "H", "hours", "h ", "h1m", "h-1m", "h1", "\n"];
        let taken = compare(cluster, "/spec/timeout", combinations(&[SIGNS, NUMBERS, units])).await?;
        for text in taken {
            text.parse::<Timeout>().with_context(|| format!("{text:?}"))?;
        }
        Ok(())
    })
}

#[test]
fn email_addresses() -> Result<()> {
    with_crds(async |cluster| {
        let names: &[&str] = &[
            "",
            "alice",
            "Alice.B+vdi",
            "a b",
            "\"a b\"",
            "al\u{200b}ice",
            "\u{202e}alice",
            "al\u{a0}ice",
            "al\u{b}ice",
            "日本",
            "a@b",
            "..",
            "al\u{7f}ice",
            "al\u{0}ice",
            "{a}",
            "o'b",
        ];
        let ats: &[&str] = &["", "@", "@@", " @", "＠"];
        let domains: &[&str] = &[
            "",
            "example.com",
            "EXAMPLE.com",
            "example",
            "example.com.",
            ".example.com",
            "ex ample.com",
            "exämple.com",
            "-a.com",
            "a.b-c.d",
            "127.0.0.1",
            "[127.0.0.1]",
            "a..b",
            "example.com\n",
            "a_b.com",
            "xn--r8jz45g.jp",
            "example.\u{200d}com",
        ];
        compare(cluster, "/spec/user", combinations(&[names, ats, domains])).await?;
        Ok(())
    })
}
