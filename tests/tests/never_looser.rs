//! Compares the policy with the API server, value by value: what the policy accepts, the API server accepts too, and reads in
//! the same way.

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

/// Whether the policy accepts a session whose field has this value.
fn policy_accepts(path: &str, value: &str) -> Result<bool> {
    let mut session = valid_session();
    *session.pointer_mut(path).context("no such field")? = json!(value);
    let host: Played = serde_json::from_value(json!({ "kubernetes/can_i": { "allowed": true } }))?;
    Ok(native::validate(&create(session), &json!({}), &host)?.accepted)
}

/// Whether the API server accepts such a session, without the policy.
async fn api_server_accepts(api: &Api<DynamicObject>, path: &str, value: &str) -> Result<bool> {
    let mut session = valid_session();
    *session.pointer_mut(path).context("no such field")? = json!(value);
    session["metadata"] = json!({ "name": "compare" });
    let session: DynamicObject = serde_json::from_value(session)?;
    accepted(api.create(&dry_run(), &session).await).map(|session| session.is_some())
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

fn accepted<T>(answer: kube::Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Compares the two for all values, and returns those that the policy accepts.
async fn compare(cluster: &ControlPlane, path: &'static str, values: Vec<String>) -> Result<Vec<String>> {
    let api = Api::default_namespaced_with(cluster.admin(), &ApiResource::erase::<VDISession>(&()));
    let results: Vec<(String, bool, bool)> = stream::iter(values)
        .map(async |value| {
            let theirs = api_server_accepts(&api, path, &value).await?;
            anyhow::Ok((value.clone(), policy_accepts(path, &value)?, theirs))
        })
        .buffer_unordered(8)
        .try_collect()
        .await?;
    let looser: Vec<_> = results.iter().filter(|(_, ours, theirs)| *ours && !theirs).collect();
    ensure!(looser.is_empty(), "the policy accepts values that the API server refuses: {looser:#?}");
    let accepted: Vec<_> = results.into_iter().filter(|(_, ours, _)| *ours).map(|(value, ..)| value).collect();
    ensure!(accepted.len() > 10, "only {} values were accepted", accepted.len());
    Ok(accepted)
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
fn the_api_server_accepts_every_quantity_that_the_policy_accepts() -> Result<()> {
    with_crds(async |cluster| {
        let suffixes: &[&str] = &[
            "", "n", "u", "m", "k", "K", "Ki", "M", "Mi", "G", "Gi", "T", "Ti", "P", "Pi", "E", "Ei", "Z", "gi", "GiB",
            "Gi ", "e3", "E3", "e+3", "e-3", "e", "e400", "\n",
        ];
        let accepted = compare(cluster, "/spec/resources/memory", combinations(&[SIGNS, NUMBERS, suffixes])).await?;
        // As a pod's memory limit, the value is the same number of bytes.
        let pods: Api<Pod> = Api::default_namespaced(cluster.admin());
        for text in accepted {
            let limits = json!({ "memory": text });
            let container = json!({ "name": "a", "image": "b", "resources": { "limits": limits, "requests": limits } });
            let pod = json!({ "metadata": { "name": "compare" }, "spec": { "containers": [container] } });
            let pod =
                accepted_pod(&pods, pod).await?.with_context(|| format!("{text:?} isn't a valid memory limit"))?;
            let stored =
                pod["spec"]["containers"][0]["resources"]["limits"]["memory"].as_str().unwrap_or_default().to_owned();
            let (ours, theirs): (Memory, Memory) = (text.parse()?, stored.parse()?);
            ensure!(ours == theirs, "{text:?} is {ours:?} here, and {stored:?} to the API server");
        }
        Ok(())
    })
}

async fn accepted_pod(pods: &Api<Pod>, pod: Value) -> Result<Option<Value>> {
    let pod = accepted(pods.create(&dry_run(), &serde_json::from_value(pod)?).await)?;
    Ok(pod.map(serde_json::to_value).transpose()?)
}

#[test]
fn the_api_server_accepts_every_duration_that_the_policy_accepts() -> Result<()> {
    with_crds(async |cluster| {
        let units: &[&str] =
            &["", "ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "H", "hours", "h ", "h1m", "h-1m", "h1", "\n"];
        let accepted = compare(cluster, "/spec/timeout", combinations(&[SIGNS, NUMBERS, units])).await?;
        for text in accepted {
            text.parse::<Timeout>().with_context(|| format!("{text:?}"))?;
        }
        Ok(())
    })
}

#[test]
fn the_api_server_accepts_every_email_address_that_the_policy_accepts() -> Result<()> {
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
