//! Wrong values: Helm refuses them, and says where they are and what is allowed.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vdi_tests::{helm::Helm, installation::NAMESPACE};

/// Values, and what the refusal says.
fn mistakes() -> Vec<(Value, &'static [&'static str])> {
    vec![
        (json!({ "domain": "" }), &["domain: the domain", "--set domain=vdi.example.com"]),
        (json!({ "domain": "Desktops of ours" }), &["'/domain'", "does not match pattern"]),
        (json!({ "domian": "vdi.example.com" }), &["'domian' not allowed"]),
        (
            json!({ "exposure": { "type": "NodePort" } }),
            &["'/exposure/type'", "'LoadBalancer', 'gatewayAPI', 'ingress'"],
        ),
        (json!({ "exposure": { "type": "gatewayAPI" } }), &["exposure.gatewayAPI.parentRefs", "[{name: public"]),
        (json!({ "controller": { "replicas": "two" } }), &["'/controller/replicas'", "want integer"]),
        (json!({ "controller": { "replicas": 0 } }), &["'/controller/replicas'", "minimum: got 0, want 1"]),
        (
            json!({ "controller": { "settings": { "domain": "a.example.com" } } }),
            &["'/controller/settings'", "'domain' not allowed"],
        ),
        (
            json!({ "controller": { "settings": { "concurrency": 0 } } }),
            &["'/controller/settings/concurrency'", "want 1"],
        ),
        (
            json!({ "gateway": { "settings": { "key-rotation": "1 day" } } }),
            &["'/gateway/settings/key-rotation'", "(ns|us|ms|s|m|h)"],
        ),
        (
            json!({ "gateway": { "settings": { "log-format": "xml" } } }),
            &["'/gateway/settings/log-format'", "'json', 'text'"],
        ),
        (json!({ "policy": { "mode": "on" } }), &["'/policy/mode'", "'off', 'monitor', 'protect'"]),
        (json!({ "policy": { "settings": { "gpu": { "max": 0 } } } }), &["'/policy/settings/gpu/max'", "want 1"]),
        (json!({ "policy": { "settings": { "gpus": {} } } }), &["'/policy/settings'", "'gpus' not allowed"]),
        (json!({ "oidc": { "issuer": "http://login.example.com" } }), &["'/oidc/issuer'", "https://"]),
        (json!({ "oidc": { "issuer": "https://login.example.com" } }), &["oidc.clientID", "is missing"]),
        (json!({ "oidc": { "clientID": "vdi" } }), &["oidc.issuer", "is missing"]),
        (json!({ "tls": { "certManager": { "enabled": true } } }), &["tls.certManager.issuerRef.name", "is missing"]),
        (json!({ "tls": { "secretName": "" } }), &["'/tls/secretName'", "minLength"]),
        (json!({ "images": { "gateway": { "digest": "sha256:12" } } }), &["'/images/gateway/digest'", "[0-9a-f]{64}"]),
        (json!({ "test": { "namespace": NAMESPACE } }), &["test.namespace", "another namespace"]),
        (json!({ "podCIDRs": "10.0.0.0/8" }), &["'/podCIDRs'", "want array"]),
        (json!({ "usernamePrefix": "oidc:\n" }), &["'/usernamePrefix'", "does not match pattern"]),
    ]
}

#[tokio::test]
async fn a_wrong_value_is_refused_with_its_path_and_what_is_allowed() -> Result<()> {
    for major in [3, 4] {
        let helm = Helm::new(major).await?;
        for (mut values, expected) in mistakes() {
            if values.get("domain").is_none() {
                values["domain"] = json!("vdi.example.com");
            }
            let output = helm.render(NAMESPACE, &values).await?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(!output.status.success(), "helm {major} takes {values}");
            for words in expected {
                ensure!(said.contains(words), "helm {major}, {values}: {words:?} is not in {said}");
            }
        }
    }
    Ok(())
}
