//! The last release's chart, which an installation is upgraded from, with today's images: those of the last release can't be built
//! from this tree. How programs of both get along is the subject of tests/tests/compatibility.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use vdi_cluster::User;
use vdi_tests::{
    helm::{self, Helm},
    installation::NAMESPACE,
    installed::Installed,
    workspace,
};

/// Makes of an installation one of the last release's chart, with the same values.
pub async fn install(installed: &Installed) -> Result<()> {
    let helm = Helm::new(4).await?;
    let mut upgrade = helm.command();
    upgrade.args(["upgrade", "vdiwarden"]).arg(workspace().join("tests/last-release/vdiwarden"));
    upgrade.args(["--namespace", NAMESPACE, "--reset-then-reuse-values", "--wait", "--timeout", "3m"]);
    let deployments: Api<Deployment> = Api::namespaced(installed.stack.cluster.admin(), NAMESPACE);
    for program in ["controller", "gateway"] {
        let deployment = deployments.get(&format!("vdi-{program}")).await?;
        let pod = deployment.spec.and_then(|spec| spec.template.spec).context("no pod template")?;
        let image = pod.containers.into_iter().find_map(|container| container.image).context("no image")?;
        let (_, digest) = image.split_once('@').with_context(|| format!("{image} has no digest"))?;
        upgrade.args(["--set", &format!("images.{program}.digest={digest}")]);
    }
    upgrade.env("KUBECONFIG", installed.stack.cluster.kubeconfig(&User::admin())?);
    helm::output(&mut upgrade).await.map(drop)
}
