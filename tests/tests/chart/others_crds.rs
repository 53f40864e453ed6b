//! Objects of other projects, held to the CRDs in those projects' modules, by a real API server.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use vdi_cluster::{ControlPlane, User};
use vdi_tests::{
    helm::Helm,
    installation::{NAMESPACE, manifest, parse},
    setup,
    shared::{Shared, directory},
    stack,
};

use super::configurations;

/// In each module, the folder with its CRDs, and the kinds that the chart has.
const CRDS: [(&str, &str, &[&str]); 3] = [
    ("github.com/cert-manager/cert-manager", "deploy/crds", &["cert-manager.io_certificates.yaml"]),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd",
        &["monitoring.coreos.com_podmonitors.yaml", "monitoring.coreos.com_prometheusrules.yaml"],
    ),
    (
        "sigs.k8s.io/gateway-api",
        "config/crd/standard",
        &["gateway.networking.k8s.io_httproutes.yaml", "gateway.networking.k8s.io_tlsroutes.yaml"],
    ),
];
/// Kubewarden has no module with its CRDs.
const WITHOUT_CRD: &str = "ClusterAdmissionPolicy";

pub async fn kubectl<A: AsRef<std::ffi::OsStr>>(
    cluster: &ControlPlane,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String> {
    let output = cluster.kubectl(&User::admin(), arguments)?.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

async fn start() -> Result<ControlPlane> {
    let cluster = ControlPlane::start(directory().with_extension("crds"), &[]).await?;
    for (module, folder, files) in CRDS {
        let folder = setup::go_module(module).await?.join(folder);
        for file in files {
            let file = folder.join(file).display().to_string();
            kubectl(&cluster, ["apply", "--server-side", "-f", &file]).await?;
        }
    }
    kubectl(&cluster, ["wait", "--for=condition=Established", "--all", "crd"]).await?;
    for namespace in ["rendered", "rendered-codes", NAMESPACE, &format!("{NAMESPACE}-codes")] {
        kubectl(&cluster, ["create", "namespace", namespace]).await?;
    }
    Ok(cluster)
}

pub fn with_crds(test: impl AsyncFnOnce(&'static ControlPlane) -> Result<()>) -> Result<()> {
    static CLUSTER: Shared<ControlPlane> = Shared::new();
    CLUSTER.with(start, test)
}

/// With strict validation: an unknown field is an error.
pub async fn dry_run(cluster: &ControlPlane, objects: &[Value]) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), manifest(objects))?;
    let file = file.path().display().to_string();
    kubectl(cluster, ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &file]).await
}

#[test]
fn the_api_server_accepts_every_object_of_every_configuration() -> Result<()> {
    with_crds(async |cluster| {
        let helm = Helm::new(4).await?;
        let mut kinds = std::collections::BTreeSet::new();
        for (configuration, values) in configurations::all() {
            let mut objects = parse(&helm.template("rendered", &values).await?)?;
            objects.retain(|object| object["kind"] != WITHOUT_CRD);
            kinds.extend(objects.iter().filter_map(|object| object["kind"].as_str().map(str::to_owned)));
            let said = dry_run(cluster, &objects).await.map_err(|error| error.context(configuration))?;
            ensure!(said.lines().count() == objects.len(), "{configuration}: {said}");
        }
        for kind in ["Certificate", "HTTPRoute", "Ingress", "PodMonitor", "PrometheusRule", "TLSRoute"] {
            ensure!(kinds.contains(kind), "no configuration has a {kind}");
        }
        Ok(())
    })
}

#[test]
fn an_unknown_field_of_a_route_would_be_refused() -> Result<()> {
    with_crds(async |cluster| {
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "TLSRoute",
            "metadata": { "name": "route", "namespace": "rendered" },
            "spec": { "hostnames": ["a.example.com"], "rules": [{ "backendRefs": [{ "name": "a", "port": 1 }] }], "host": "a" },
        });
        let Err(error) = dry_run(cluster, &[route]).await else { anyhow::bail!("it is accepted") };
        ensure!(format!("{error:#}").contains("host"), "{error:#}");
        Ok(())
    })
}

/// This cluster has no CRDs of ours, nor anything else.
#[test]
fn a_check_of_an_installation_that_is_not_there_fails_and_says_what_to_do() -> Result<()> {
    with_crds(async |cluster| {
        vdi_tests::process::blocking(stack::build).await?;
        let mut check = Command::new(stack::program("vdi-controller"));
        check.args([
            "check-installation",
            "--domain=vdi.example.com",
            "--namespace=default",
            "--own-namespace=rendered",
        ]);
        check.args(["--gateway=127.0.0.1:1", "--gateways=127.0.0.1:1"]).kill_on_drop(true);
        check.arg("--floor=vdi-sessions");
        check.args(["--tls-secret=vdi-gateway-tls", "--tls-cert=/nowhere/tls.crt"]);
        let output = check.env("KUBECONFIG", cluster.kubeconfig(&User::admin())?).output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.code() == Some(1), "{said}");
        for words in [
            "FAIL  the API server doesn't serve vdisessions (vdi.kasm.io/v1alpha1)\n      To do: install the CRDs",
            "FAIL  the gateway has no certificate: there is no Secret vdi-gateway-tls",
            "FAIL  no session can be tried: ",
            "FAIL  of the floor, a ValidatingAdmissionPolicy or its binding is missing: vdi-sessions",
        ] {
            ensure!(said.contains(words), "{words:?} is not in {said}");
        }
        ensure!(!said.contains("ok    "), "{said}");
        Ok(())
    })
}
