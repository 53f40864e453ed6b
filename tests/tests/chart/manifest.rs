//! What holds for every configuration.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vdi_tests::{
    helm::{self, Helm},
    installation::{NAMESPACE, parse},
    workspace,
};

use super::configurations;

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(workspace().join(path)).with_context(|| path.to_owned())
}

#[tokio::test]
async fn helm_3_and_4_find_nothing_to_lint() -> Result<()> {
    for major in [3, 4] {
        let helm = Helm::new(major).await?;
        for (configuration, values) in configurations::all() {
            let mut lint = helm.command();
            lint.args(["lint", "--strict", "--kube-version=1.35"]).arg(helm::chart());
            let output = lint.arg("--values").arg(helm.values(&values)?).output().await?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            let is_clean = !said.contains("[WARNING]") && !said.contains("[ERROR]");
            ensure!(output.status.success() && is_clean, "helm {major}, {configuration}: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_chart_renders_the_same_bytes_each_time_and_the_same_objects_with_helm_3_and_4() -> Result<()> {
    let (three, four) = (Helm::new(3).await?, Helm::new(4).await?);
    for (configuration, values) in configurations::all() {
        let rendered = four.template(NAMESPACE, &values).await?;
        ensure!(four.template(NAMESPACE, &values).await? == rendered, "{configuration}: not the same bytes");
        let earlier = three.template(NAMESPACE, &values).await?;
        ensure!(
            three.template(NAMESPACE, &values).await? == earlier,
            "{configuration}: not the same bytes with helm 3"
        );
        let (earlier, objects) = (parse(&earlier)?, parse(&rendered)?);
        ensure!(earlier == objects, "{configuration}: not the same objects");
    }
    Ok(())
}

#[tokio::test]
async fn install_yaml_is_what_the_chart_renders_with_its_defaults() -> Result<()> {
    let is_current = read("deploy/install.yaml")? == helm::install_manifest().await?;
    ensure!(is_current, "deploy/install.yaml is out of date: run `cargo xtask generate`");
    Ok(())
}

/// What makes renderings differ from each other: Argo CD and Flux then see a drift.
const CHANGING: &str = r"\b(rand\w+|gen[A-Z]\w+|uuidv4|lookup|now|htpasswd|bcrypt|derivePassword|getHostByName)\b|\.Release\.(Revision|Is\w+)";

#[test]
fn no_template_has_hooks_but_for_tests_or_uses_what_differs_from_one_rendering_to_the_next() -> Result<()> {
    let (action, changing) = (regex::Regex::new(r"\{\{[^}]*\}\}")?, regex::Regex::new(CHANGING)?);
    let mut folders = vec![helm::chart().join("templates")];
    let mut templates = 0;
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            templates += 1;
            let text = std::fs::read_to_string(&path)?;
            let hook =
                text.lines().find(|line| line.contains("helm.sh/hook:") && !line.ends_with("helm.sh/hook: test"));
            ensure!(hook.is_none(), "{}: {hook:?}", path.display());
            let used = action.find_iter(&text).find(|action| changing.is_match(action.as_str()));
            ensure!(used.is_none(), "{}: {used:?}", path.display());
        }
    }
    ensure!(templates > 15, "only {templates} templates were found");
    Ok(())
}

#[tokio::test]
async fn every_object_follows_the_namespace_of_the_release() -> Result<()> {
    let helm = Helm::new(4).await?;
    for (configuration, values) in configurations::all() {
        let rendered = helm.template("somewhere-else", &values).await?;
        for object in parse(&rendered)? {
            let text = object.to_string();
            let is_crd = object["kind"] == "CustomResourceDefinition";
            ensure!(is_crd || !text.contains(NAMESPACE), "{configuration}: {text}");
        }
    }
    Ok(())
}

/// What `helm install` leaves alone, and neither Argo CD nor Flux nor `kubectl apply` ever sees.
#[tokio::test]
async fn all_that_a_test_adds_is_a_hook_and_its_rights_go_when_the_test_ends() -> Result<()> {
    let helm = Helm::new(4).await?;
    for (configuration, values) in configurations::all() {
        let installed = parse(&helm.template(NAMESPACE, &values).await?)?;
        let mut tests = parse(&helm.template_with_tests(NAMESPACE, &values).await?)?;
        tests.retain(|object| !installed.contains(object));
        let kinds: Vec<_> = tests.iter().filter_map(|object| object["kind"].as_str()).collect();
        ensure!(kinds.contains(&"Pod") && kinds.len() >= 6, "{configuration}: {kinds:?}");
        let floor = installed.iter().filter(|it| it["kind"] == "ValidatingAdmissionPolicy");
        let mut floor: Vec<_> = floor.filter_map(|it| it["metadata"]["name"].as_str()).collect();
        floor.sort_unstable();
        let pod = tests.iter().find(|it| it["kind"] == "Pod").map(Value::to_string).unwrap_or_default();
        let looks_at_all = pod.contains(&format!("\"--floor={}\"", floor.join(",")));
        ensure!(looks_at_all != floor.is_empty(), "{configuration}: {floor:?} are not those in {pod}");
        for object in installed {
            ensure!(object["metadata"]["annotations"]["helm.sh/hook"].is_null(), "{configuration}: {object}");
        }
        for object in tests {
            let annotations = &object["metadata"]["annotations"];
            ensure!(annotations["helm.sh/hook"] == "test", "{configuration}: {object}");
            // The pod stays for its log, and has no rights any more.
            let ends = match object["kind"] == "Pod" {
                true => "before-hook-creation",
                false => "before-hook-creation,hook-succeeded,hook-failed",
            };
            ensure!(annotations["helm.sh/hook-delete-policy"] == ends, "{configuration}: {object}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_pod_meets_the_restricted_pod_security_standard_and_has_limits() -> Result<()> {
    let helm = Helm::new(4).await?;
    for (configuration, values) in configurations::all() {
        let objects = parse(&helm.template_with_tests(NAMESPACE, &values).await?)?;
        let find = |kind: &'static str| objects.iter().filter(move |it| it["kind"] == kind);
        let deployed: Vec<&Value> = find("Deployment").map(|it| &it["spec"]["template"]).collect();
        ensure!(deployed.len() == 2, "{configuration}: {} Deployments", deployed.len());
        for template in deployed.iter().copied().chain(find("Pod")) {
            let spec = &template["spec"];
            let container = &spec["containers"][0];
            let expected = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            });
            ensure!(container["securityContext"] == expected, "{container}");
            let pod = &spec["securityContext"];
            ensure!(pod["runAsNonRoot"] == true && pod["runAsUser"] == 65532, "{pod}");
            ensure!(pod["seccompProfile"]["type"] == "RuntimeDefault", "{pod}");
            ensure!(container["resources"]["limits"]["memory"].is_string(), "{container}");
            // Desktops let in the pods of this namespace with this label.
            let reaches_desktops = template["metadata"]["labels"]["app.kubernetes.io/part-of"] == "vdiwarden";
            let is_deployed = deployed.contains(&template);
            ensure!(reaches_desktops == is_deployed, "{configuration}: {template}");
            let is_probed = container["readinessProbe"]["httpGet"]["path"] == "/readyz";
            ensure!(is_probed == is_deployed, "{container}");
        }
    }
    Ok(())
}

#[test]
fn the_chart_has_the_version_of_the_programs() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let chart: Value = serde_saphyr::from_str(&read("deploy/chart/vdiwarden/Chart.yaml")?)?;
    ensure!(chart["version"] == version && chart["appVersion"] == version, "{chart}");
    let values: Value = serde_saphyr::from_str(&read("deploy/chart/vdiwarden/values.yaml")?)?;
    let registry = values["images"]["registry"].as_str().context("no registry")?;
    let images = chart["annotations"]["artifacthub.io/images"].as_str().context("no images")?;
    for image in ["controller", "gateway", "desktop"] {
        let image = format!("image: {registry}/{image}:{version}\n");
        ensure!(images.contains(&image), "Chart.yaml lacks {image}");
    }
    let sample = read("deploy/samples/ubuntu-desktop.yaml")?;
    ensure!(sample.contains(&format!("image: {registry}/desktop:{version}\n")), "{sample}");
    Ok(())
}

/// The policy can also be installed without the chart.
#[tokio::test]
async fn the_policy_and_its_rights_are_those_in_deploy_kubewarden() -> Result<()> {
    let helm = Helm::new(4).await?;
    for mode in ["monitor", "protect"] {
        let values = json!({ "domain": "vdi.example.com", "policy": { "mode": mode } });
        let objects = parse(&helm.template(NAMESPACE, &values).await?)?;
        let find = |objects: &[Value], kind: &str| {
            let mut found = objects.iter().filter(|it| it["kind"] == kind);
            found.find(|it| it["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("vdisession"))).cloned()
        };
        let mut policy = find(&objects, "ClusterAdmissionPolicy").context("no policy")?;
        let account = |name: &str| json!([format!("system:serviceaccount:{NAMESPACE}:{name}")]);
        let identity = json!({ "exemptUsers": account("vdi-controller"), "brokers": account("vdi-gateway") });
        ensure!(policy["spec"]["settings"] == json!({ "identity": identity }), "{policy}");
        policy["spec"]["settings"] = json!({});
        let written = parse(&read(&format!("deploy/kubewarden/{mode}.yaml"))?)?;
        ensure!(Some(&policy["spec"]) == written.first().map(|it| &it["spec"]), "{policy}");
        let written = parse(&read("deploy/kubewarden/rbac.yaml")?)?;
        for kind in ["ClusterRole", "ClusterRoleBinding"] {
            ensure!(find(&objects, kind) == find(&written, kind), "{mode}: another {kind}");
        }
    }
    Ok(())
}
