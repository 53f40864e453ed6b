//! Helm on a real API server without nodes: what an installation, an upgrade and an uninstallation do.

use std::{collections::BTreeMap, ffi::OsStr};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vdi_cluster::{ControlPlane, User};
use vdi_tests::{
    helm::{self, Helm},
    installation::parse,
    shared::directory,
    wait::until,
};

/// Without any label, as `helm install --create-namespace` makes it.
const NAMESPACE: &str = "desktop-system";

/// The kinds whose status Kubernetes writes, whenever it gets to it.
const WITH_STATUS: &[&str] = &[
    "CustomResourceDefinition",
    "Deployment",
    "Namespace",
    "PodDisruptionBudget",
    "Service",
    "ValidatingAdmissionPolicy",
];

struct Cluster(ControlPlane);

impl Cluster {
    async fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let output = self.0.kubectl(&User::admin(), arguments)?.output().await?;
        ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn helm(&self, helm: &Helm, arguments: &[&str]) -> Result<String> {
        let mut command = helm.command();
        command.env("KUBECONFIG", self.0.kubeconfig(&User::admin())?);
        let printed = helm::output(command.args(arguments).args(["--namespace", NAMESPACE])).await;
        printed.with_context(|| format!("{arguments:?}"))
    }

    /// The version of each object of a release. Of those whose status Kubernetes writes, what somebody wrote in them.
    async fn versions(&self, manifest: &str) -> Result<BTreeMap<String, Value>> {
        let mut versions = BTreeMap::new();
        for object in parse(manifest)? {
            let (kind, metadata) = (object["kind"].as_str().context("no kind")?, &object["metadata"]);
            let name = metadata["name"].as_str().context("no name")?;
            let namespace = metadata["namespace"].as_str().unwrap_or("default");
            let read = self.kubectl(["get", kind, name, "--namespace", namespace, "--output", "json"]).await?;
            let read: Value = serde_json::from_str(&read)?;
            let version = match WITH_STATUS.contains(&kind) {
                true => json!([read["metadata"]["labels"], read["metadata"]["annotations"], read["spec"]]),
                false => read["metadata"]["resourceVersion"].clone(),
            };
            versions.insert(format!("{kind} {namespace}/{name}"), version);
        }
        ensure!(versions.len() > 30, "{versions:?}");
        Ok(versions)
    }
}

#[tokio::test]
async fn helm_3_and_4_install_upgrade_without_a_change_and_leave_the_sessions_when_they_uninstall() -> Result<()> {
    let cluster = Cluster(ControlPlane::start(directory().with_extension("installing"), &[]).await?);
    round(&cluster, &Helm::new(3).await?).await.context("helm 3")?;
    // What remains of an installation is taken over by the next, where only restricted pods are allowed this time.
    cluster.kubectl(["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"]).await?;
    round(&cluster, &Helm::new(4).await?).await.context("helm 4")
}

async fn round(cluster: &Cluster, helm: &Helm) -> Result<()> {
    let chart = helm::chart().display().to_string();
    let values = helm.values(&json!({ "domain": "vdi.example.com" }))?.display().to_string();
    let notes =
        cluster.helm(helm, &["install", "vdiwarden", &chart, "--values", &values, "--create-namespace"]).await?;
    for words in
        ["https://vdi.example.com/.vdi/callback", "kubectl create secret tls vdi-gateway-tls", "Without Kubewarden"]
    {
        ensure!(notes.contains(words), "{words:?} is not in {notes}");
    }
    its_own_pods_are_created(cluster).await?;
    nobody_has_a_session_in_its_namespace(cluster).await?;

    let manifest = cluster.helm(helm, &["get", "manifest", "vdiwarden"]).await?;
    let before = cluster.versions(&manifest).await?;
    cluster.helm(helm, &["upgrade", "vdiwarden", &chart, "--values", &values]).await?;
    let after = cluster.versions(&manifest).await?;
    for (object, version) in &before {
        ensure!(
            after[object] == *version,
            "an upgrade with the same values changed {object}: {version} {}",
            after[object]
        );
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), helm.template(NAMESPACE, &json!({ "domain": "vdi.example.com" })).await?)?;
    // It fails where it finds a difference.
    let difference = cluster.kubectl(["diff", "--filename", &file.path().display().to_string()]).await?;
    ensure!(difference.is_empty(), "{difference}");

    // The notes' own sample. It is still there in the second round.
    let (_, sample) = notes.split_once("<<END\n").context("no sample")?;
    let (sample, _) = sample.split_once("\nEND\n").context("the sample has no end")?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), sample)?;
    cluster.kubectl(["apply", "--filename", &file.path().display().to_string()]).await?;
    cluster.helm(helm, &["uninstall", "vdiwarden"]).await?;
    let left =
        cluster.kubectl(["get", "vdisession", "my-desktop", "--namespace", "desktops", "--output", "name"]).await?;
    ensure!(left.contains("my-desktop"), "{left}");
    for kind in ["deployments", "clusterroles", "validatingadmissionpolicies", "configmaps"] {
        let left = cluster.kubectl(["get", kind, "--all-namespaces", "--output", "name"]).await?;
        ensure!(!left.contains("/vdi"), "an uninstallation leaves {left}");
    }
    // A namespace that is being deleted takes no new objects.
    let codes = format!("namespace/{NAMESPACE}-codes");
    cluster.kubectl(["wait", "--for=delete", "--timeout=60s", &codes]).await.map(drop)
}

/// The floor protects names that begin with vdi-, and its own namespace is exempt without a label.
async fn its_own_pods_are_created(cluster: &Cluster) -> Result<()> {
    until("two pods of each program exist", async || {
        let pods = cluster.kubectl(["get", "pods", "--namespace", NAMESPACE, "--output", "name"]).await?;
        let count = |name: &str| pods.lines().filter(|line| line.contains(name)).count();
        Ok(count("vdi-controller-") == 2 && count("vdi-gateway-") == 2)
    })
    .await
}

async fn nobody_has_a_session_in_its_namespace(cluster: &Cluster) -> Result<()> {
    let session = json!({
        "apiVersion": "vdi.kasm.io/v1alpha1", "kind": "VDISession",
        "metadata": { "name": "hidden", "namespace": NAMESPACE },
        "spec": { "user": "alice@example.com", "template": "desktop" },
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), session.to_string())?;
    let file = file.path().display().to_string();
    // The API server applies new policies with a short delay.
    until("a session beside the programs is refused", async || {
        let arguments = ["create", "--dry-run=server", "--filename", &file];
        let answer = cluster.kubectl(arguments).await;
        Ok(answer.is_err_and(|error| error.to_string().contains("vdiwarden's own namespace")))
    })
    .await
}
