//! Ten ways to install the chart.

use serde_json::{Value, json};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Each with a name, and the values that differ from the defaults.
pub fn all() -> Vec<(&'static str, Value)> {
    let issuer = json!({ "issuer": "https://login.example.com", "clientID": "vdi" });
    let policy = |mode: &str| json!({ "mode": mode, "settings": { "gpu": { "max": 2 } } });
    let mut configurations = vec![
        ("default", json!({})),
        (
            "existing-secrets",
            json!({
                "loginKeys": { "existingSecret": "my-login-keys" },
                "activityToken": { "existingSecret": "my-token" },
                "signingKeys": { "existingSecret": "my-signing-keys" },
                "tls": { "secretName": "wildcard" },
            }),
        ),
        (
            "oidc",
            json!({
                "usernamePrefix": "oidc:\"'\\",
                "publicPort": 8443,
                "podCIDRs": ["10.244.0.0/16", "fd00:10:244::/56"],
                "oidc": {
                    "issuer": "https://login.example.com",
                    "clientID": "vdi",
                    "emailVerifiedClaim": "xms_edov",
                    "clientSecret": { "existingSecret": "oidc-client" },
                    "ca": { "existingConfigMap": "company-ca" },
                },
            }),
        ),
        (
            "cert-manager",
            json!({ "tls": { "certManager": { "enabled": true, "issuerRef": { "name": "letsencrypt" } } } }),
        ),
        (
            "tls-route",
            json!({ "oidc": issuer, "exposure": {
                "type": "gatewayAPI",
                "gatewayAPI": { "parentRefs": [{ "name": "public", "namespace": "gateways", "sectionName": "desktops" }] },
            } }),
        ),
        (
            "http-route",
            json!({ "exposure": {
                "type": "gatewayAPI",
                "annotations": { "example.com/team": "desktops" },
                "gatewayAPI": { "route": "HTTPRoute", "parentRefs": [{ "name": "public" }] },
            } }),
        ),
        ("ingress", json!({ "exposure": { "type": "ingress", "ingress": { "className": "nginx" } } })),
        ("policy-protect", json!({ "policy": policy("protect"), "images": { "policy": { "digest": DIGEST } } })),
        ("policy-monitor", json!({ "policy": policy("monitor"), "usernamePrefix": "oidc:" })),
        (
            "monitoring",
            json!({
                "monitoring": {
                    "podMonitor": { "enabled": true, "labels": { "release": "prometheus" } },
                    "prometheusRule": { "enabled": true },
                    "dashboard": { "enabled": true },
                },
                "networkPolicy": {
                    "prometheus": [{ "namespaceSelector": { "matchLabels": { "team": "observability" } } }],
                    "forwardAuth": [{ "podSelector": { "matchLabels": { "app": "nginx" } } }],
                },
            }),
        ),
        (
            "air-gapped",
            json!({
                "images": {
                    "registry": "registry.example.com:5000/mirror",
                    "pullSecrets": [{ "name": "registry" }],
                    "controller": { "digest": DIGEST },
                    "gateway": { "digest": DIGEST },
                },
                "controller": {
                    "replicas": 1,
                    "settings": { "concurrency": 32, "log-format": "text" },
                    "podLabels": { "team": "desktops" },
                    "podAnnotations": { "example.com/a": "b" },
                    "nodeSelector": { "node-role.kubernetes.io/infra": "" },
                    "tolerations": [{ "key": "infra", "operator": "Exists", "effect": "NoSchedule" }],
                },
                "gateway": {
                    "replicas": 1,
                    "drainSeconds": 120,
                    "settings": { "max-connections": 20_000_000, "key-rotation": "12h" },
                    "affinity": { "podAntiAffinity": {} },
                },
                "priorityClassName": "important",
                "exposure": { "loadBalancer": {
                    "class": "metallb", "sourceRanges": ["192.0.2.0/24"], "externalTrafficPolicy": "Local",
                } },
                "networkPolicy": { "enabled": false },
                "crds": { "install": false },
                "floor": { "enabled": false },
            }),
        ),
    ];
    for (_, values) in &mut configurations {
        values["domain"] = json!("vdi.example.com");
    }
    configurations
}
