//! The webhook, called over HTTPS as an API server does.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use axum::http::Request;
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{Client, Config};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use vdi_tests::{
    policy::{
        Limits, Played, PolicyHost,
        case::{create, valid_session},
    },
    webhook::Webhook,
};

static POLICY: LazyLock<Arc<PolicyHost>> =
    LazyLock::new(|| Arc::new(PolicyHost::load(vdi_release::policy::build().unwrap()).unwrap()));

async fn start(settings: Value) -> Webhook {
    Webhook::start(POLICY.clone(), settings, Arc::new(Played::default())).await.unwrap()
}

/// A client that trusts the webhook's certificate and no other.
fn client(webhook: &Webhook) -> Client {
    let certificate = CertificateDer::from_pem_slice(webhook.certificate().as_bytes()).unwrap();
    let mut config = Config::new(webhook.url().strip_suffix("/validate").unwrap().parse().unwrap());
    config.root_cert = Some(vec![certificate.to_vec()]);
    Client::try_from(config).unwrap()
}

async fn post(webhook: &Webhook, body: &Value) -> kube::Result<Value> {
    let request = Request::post("/validate").header("content-type", "application/json");
    client(webhook).request(request.body(serde_json::to_vec(body).unwrap()).unwrap()).await
}

async fn ask(webhook: &Webhook, request: Value) -> Value {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let answer = post(webhook, &review).await.unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

fn session_with(field: &str, value: Value) -> Value {
    let mut session = valid_session();
    session["spec"][field] = value;
    create(session)
}

#[tokio::test]
async fn a_valid_session_is_allowed_without_a_patch() {
    let webhook = start(json!({})).await;
    let response = ask(&webhook, create(valid_session())).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("patch"), None);
    webhook.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_default_comes_as_a_json_patch() {
    let webhook = start(json!({})).await;
    let response = ask(&webhook, session_with("resources", json!({"gpu": 2}))).await;
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
    let patch = BASE64_STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    assert_eq!(patch, json!([{"op": "add", "path": "/spec/resources/memory", "value": "4Gi"}]));
}

#[tokio::test]
async fn a_violation_is_denied_with_its_code_and_message() {
    let webhook = start(json!({})).await;
    let response = ask(&webhook, session_with("timeout", json!("soon"))).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 422);
    assert!(response["status"]["message"].as_str().unwrap().starts_with("spec.timeout: found \"soon\"; allowed"));
}

#[tokio::test]
async fn warnings_reach_the_client() {
    let webhook = start(json!({"gpu": {"max": 4}, "rules": {"gpu-range": "warn"}})).await;
    let response = ask(&webhook, session_with("resources", json!({"gpu": 9, "memory": "4Gi"}))).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["warnings"], json!(["spec.resources.gpu: found 9; allowed at most 4 (gpu-range)"]));
}

#[tokio::test]
async fn a_policy_that_fails_denies() {
    // Accepts all settings, and traps on every other call. The length of the operation's name tells them apart.
    let module = r#"(module
        (import "wapc" "__guest_response" (func $respond (param i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "{\"valid\":true}")
        (func (export "__guest_call") (param i32 i32) (result i32)
            (if (i32.ne (local.get 0) (i32.const 17)) (then unreachable))
            (call $respond (i32.const 0) (i32.const 14))
            (i32.const 1)))"#;
    let host = Arc::new(PolicyHost::new(module.as_bytes(), Limits::default()).unwrap());
    let webhook = Webhook::start(host, json!({}), Arc::new(Played::default())).await.unwrap();
    let response = ask(&webhook, create(valid_session())).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(500)));
}

#[tokio::test]
async fn a_body_that_is_not_an_admission_review_is_a_client_error() {
    let webhook = start(json!({})).await;
    for body in [json!({}), json!([]), json!({"apiVersion": "admission.k8s.io/v1beta1", "request": {"uid": "1"}})] {
        assert!(post(&webhook, &body).await.is_err(), "{body}");
    }
}

#[tokio::test]
async fn a_webhook_with_invalid_settings_does_not_start() {
    let error =
        Webhook::start(POLICY.clone(), json!({"gpu": {"max": 0}}), Arc::new(Played::default())).await.err().unwrap();
    assert!(error.to_string().contains("settings.gpu.max: found 0"), "{error}");
}

#[tokio::test]
async fn the_configuration_fails_closed_and_has_the_rules_of_the_metadata() {
    let webhook = start(json!({})).await;
    let configuration = webhook.configuration("vdisession");
    serde_json::from_value::<MutatingWebhookConfiguration>(configuration.clone()).unwrap();
    let configuration = &configuration["webhooks"][0];
    assert_eq!(configuration["failurePolicy"], "Fail");
    assert_eq!(configuration["rules"], POLICY.metadata()["rules"]);
    assert_eq!(configuration["rules"][0]["resources"], json!(["vdisessions", "vditemplates"]));
}

#[tokio::test]
async fn a_webhook_that_is_dropped_no_longer_answers() {
    let webhook = start(json!({})).await;
    let (client, url) = (client(&webhook), webhook.url());
    drop(webhook);
    let answer = client.request_text(Request::get(url).body(Vec::new()).unwrap()).await;
    assert!(matches!(answer, Err(kube::Error::Service(_) | kube::Error::HyperError(_))), "{answer:?}");
}
