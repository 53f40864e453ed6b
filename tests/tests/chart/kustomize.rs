//! deploy/install.yaml as a base for kustomize: what deploy/samples/kustomize makes of it.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vdi_cluster::ControlPlane;
use vdi_tests::{installation, workspace};

use super::others_crds::{dry_run, kubectl, with_crds};

/// What kubectl makes of the sample, and the installation.
async fn built(cluster: &ControlPlane) -> Result<(Vec<Value>, Vec<Value>)> {
    let (folder, deploy) = (tempfile::tempdir()?, workspace().join("deploy"));
    for file in ["samples/kustomize/kustomization.yaml", "install.yaml"] {
        let name = file.rsplit('/').next().unwrap_or(file);
        std::fs::copy(deploy.join(file), folder.path().join(name))?;
    }
    let folder = folder.path().display().to_string();
    let built = installation::parse(&kubectl(cluster, ["kustomize", &folder]).await?)?;
    Ok((built, installation::objects()?))
}

#[test]
fn kustomize_changes_what_the_sample_says_and_nothing_else() -> Result<()> {
    with_crds(async |cluster| {
        let (built, base) = built(cluster).await?;
        ensure!(built.len() == base.len(), "{} objects of {}", built.len(), base.len());
        let programs = [
            ("vdi-controller", "controller", '1', json!({ "name": "VDI_DOMAIN", "value": "desktops.example.org" })),
            (
                "vdi-gateway",
                "gateway",
                '2',
                json!({ "name": "VDI_PUBLIC_URL", "value": "https://desktops.example.org" }),
            ),
        ];
        for object in &base {
            let [kind, name] = [&object["kind"], &object["metadata"]["name"]].map(|it| it.as_str().unwrap_or_default());
            if kind == "CustomResourceDefinition" {
                // Kustomize writes numbers in another form.
                continue;
            }
            let mut expected = object.clone();
            if let Some((_, image, digit, variable)) = programs.iter().find(|it| kind == "Deployment" && it.0 == name) {
                let digest = digit.to_string().repeat(64);
                let pod = &mut expected["spec"]["template"]["spec"];
                pod["nodeSelector"] = json!({ "node-role.kubernetes.io/infra": "" });
                pod["containers"][0]["image"] =
                    json!(format!("registry.example.com/vdiwarden/{image}@sha256:{digest}"));
                pod["containers"][0]["env"] = json!([variable]);
                if name == "vdi-gateway" {
                    expected["spec"]["replicas"] = json!(3);
                }
            }
            let found = built.iter().find(|it| {
                it["kind"] == kind
                    && it["metadata"]["name"] == name
                    && it["metadata"]["namespace"] == object["metadata"]["namespace"]
            });
            ensure!(found == Some(&expected), "{kind} {name}: {found:?}\nand not {expected}");
        }
        Ok(())
    })
}

#[test]
fn the_api_server_accepts_what_kustomize_makes() -> Result<()> {
    with_crds(async |cluster| {
        let (built, _) = built(cluster).await?;
        let said = dry_run(cluster, &built).await?;
        ensure!(said.lines().count() == built.len(), "{said}");
        Ok(())
    })
}
