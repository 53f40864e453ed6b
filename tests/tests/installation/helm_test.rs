//! `helm test` on an installation that works, and on one that doesn't.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vdi_cluster::User;
use vdi_tests::{installation::NAMESPACE, wait};

use super::with_installed;

#[test]
fn helm_test_says_what_is_wrong_with_an_installation_and_leaves_no_rights_behind() -> Result<()> {
    with_installed(async |installed| {
        let kubectl = async |arguments: &[&str]| installed.stack.kubectl_ok(&User::admin(), arguments).await;
        let remains = async || {
            let kinds = ["serviceaccounts", "roles", "rolebindings", "clusterroles", "clusterrolebindings"];
            let all = kubectl(&["get", &kinds.join(","), "--all-namespaces", "--output", "name"]).await?;
            anyhow::Ok(all.lines().filter(|name| name.ends_with("/vdi-check")).count())
        };
        // Expects these lines of the report.
        let fails = async |helm: u8, expected: &[&str]| -> Result<()> {
            let (passes, said) = installed.test(helm).await?;
            ensure!(!passes, "it passes: {said}");
            for words in expected {
                ensure!(said.contains(words), "{words:?} is not in {said}");
            }
            ensure!(remains().await? == 0, "rights are left behind: {said}");
            Ok(())
        };
        let scale = async |replicas: &str| {
            kubectl(&["scale", "deployment", "vdi-gateway", "--namespace", NAMESPACE, "--replicas", replicas]).await
        };

        // Without the admission policy, which hides what else refuses a session. The floor does nothing without its bindings.
        kubectl(&["delete", "mutatingwebhookconfiguration", "vdiwarden"]).await?;
        kubectl(&["delete", "validatingadmissionpolicybinding", "vdi-sessions"]).await?;
        scale("0").await?;
        wait::until("no gateway is left", async || {
            let selector = ["--selector", "app.kubernetes.io/name=vdi-gateway", "--output", "name"];
            let pods = kubectl(&[&["get", "pods", "--namespace", NAMESPACE], &selector[..]].concat()).await?;
            Ok(pods.is_empty())
        })
        .await?;
        fails(
            4,
            &[
                "ok    the API server serves vdisessions and vditemplates",
                "no gateway is running",
                "ok    a session is accepted",
                "FAIL  a session for somebody else is accepted",
                "FAIL  of the floor, a ValidatingAdmissionPolicy or its binding is missing: vdi-sessions",
                "3 of 6 checks failed",
            ],
        )
        .await?;

        scale("2").await?;
        // As the report says, this restores the floor. It waits for the gateways, too.
        installed.upgrade(&json!({})).await?;
        let (passes, said) = installed.test(3).await?;
        // Helm 3 shows the log once for each hook.
        let good = said.lines().filter(|line| line.starts_with("ok    ")).collect::<BTreeSet<_>>().len();
        let by_floor = "ok    a session for somebody else is refused, by the floor's ValidatingAdmissionPolicies";
        ensure!(passes && good == 6 && said.contains(by_floor), "{said}");
        ensure!(remains().await? == 0, "rights are left behind: {said}");

        installed.stack.call_policy().await?;
        let secret = ["secret", "vdi-gateway-tls", "--namespace", NAMESPACE];
        let certificate = kubectl(&[&["get"], &secret[..], &["--output", "json"]].concat()).await?;
        kubectl(&[&["delete"], &secret[..]].concat()).await?;
        fails(
            3,
            &[
                "FAIL  the gateway has no certificate: there is no Secret vdi-gateway-tls",
                "ok    a session for somebody else is refused, by an admission webhook",
                "1 of 6 checks failed",
            ],
        )
        .await?;
        let mut certificate: Value = serde_json::from_str(&certificate)?;
        certificate["metadata"] = json!({ "name": "vdi-gateway-tls", "namespace": NAMESPACE });
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), certificate.to_string())?;
        kubectl(&["create", "--filename", &file.path().display().to_string()]).await.map(drop)
    })
}
