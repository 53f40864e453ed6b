//! Objects of the last release, on a real API server that gets today's CRDs.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, Result, ensure};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use vdi_api::{VDISession, VDITemplate};
use vdi_cluster::{ControlPlane, User};
use vdi_tests::{installation, shared::directory, wait, workspace};

use crate::{
    generate,
    releases::{last_crds, schema_of, todays_crds},
};

const KINDS: [&str; 2] = ["VDISession", "VDITemplate"];

fn api(client: Client, kind: &str) -> Api<DynamicObject> {
    match kind {
        "VDISession" => Api::default_namespaced_with(client, &resource(kind)),
        _ => Api::all_with(client, &resource(kind)),
    }
}

async fn apply(cluster: &ControlPlane, crds: &[Value]) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), installation::manifest(crds))?;
    let file = file.path().display().to_string();
    for arguments in [&["apply", "-f", &file][..], &["wait", "--for=condition=Established", "--all", "crd"]] {
        let output = cluster.kubectl(&User::admin(), arguments)?.output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// All sessions and templates in deploy/samples, by name.
fn samples() -> Result<Vec<Value>> {
    let samples = workspace().join("deploy/samples");
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in [samples.clone(), samples.join("templates")] {
        files.extend(folder.read_dir()?.filter_map(|entry| Some(entry.ok()?.path())));
    }
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|it| it == "yaml")) {
        found.extend(installation::parse(&std::fs::read_to_string(file)?)?);
    }
    found.retain(|object| KINDS.iter().any(|kind| object["kind"] == *kind));
    Ok(found)
}

/// Objects with every field of a CRD. Of two fields that exclude each other, each object has one.
fn generated(crd: &Value) -> Result<Vec<Value>> {
    let schema = schema_of(crd)?;
    let variants: [&[&str]; 3] = [&[], &["spec.gpu.resourceName"], &["spec.gpu.resourceClaimTemplateName"]];
    let objects = variants.iter().enumerate().map(|(number, without)| {
        let spec = generate::everything("spec", &schema["properties"]["spec"], without)?;
        let status = generate::everything("status", &schema["properties"]["status"], without)?;
        let name = format!("everything-{number}");
        Ok(json!({ "kind": crd["spec"]["names"]["kind"], "metadata": { "name": name }, "spec": spec, "status": status }))
    });
    objects.collect()
}

fn resource(kind: &str) -> ApiResource {
    match kind {
        "VDISession" => ApiResource::erase::<VDISession>(&()),
        _ => ApiResource::erase::<VDITemplate>(&()),
    }
}

fn with_spec(kind: &str, name: &str, spec: &Value) -> DynamicObject {
    DynamicObject::new(name, &resource(kind)).data(json!({ "spec": spec }))
}

/// Creates an object with its status. `None` if the API server finds it invalid.
async fn create(client: &Client, object: &Value) -> Result<Option<DynamicObject>> {
    let (kind, name) = (object["kind"].as_str().context("no kind")?, object["metadata"]["name"].as_str());
    let (api, name) = (api(client.clone(), kind), name.context("no name")?);
    match api.create(&PostParams::default(), &with_spec(kind, name, &object["spec"])).await {
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(None),
        Err(error) => Err(error.into()),
        Ok(created) if object["status"].is_null() => Ok(Some(created)),
        Ok(_) => {
            let status = Patch::Merge(json!({ "status": object["status"] }));
            Ok(Some(api.patch_status(name, &PatchParams::default(), &status).await?))
        }
    }
}

/// Today's CRDs, with a field by which it shows that the API server uses them.
fn marked(mut crds: Vec<Value>) -> Vec<Value> {
    for crd in &mut crds {
        let spec = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        spec["properties"][MARK] = json!({ "type": "boolean" });
    }
    crds
}

const MARK: &str = "isTodays";

async fn wait_until_used(client: &Client, kind: &str, name: &str) -> Result<()> {
    let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": { MARK: true } }));
    let api = api(client.clone(), kind);
    wait::until("the API server uses today's CRDs", async || {
        Ok(api.patch(name, &dry_run, &patch).await?.data["spec"][MARK] == true)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_that_the_last_releases_crds_accept_stays_as_it_is_under_todays() -> Result<()> {
    let cluster = ControlPlane::start(directory().with_file_name("compatibility-objects"), &[]).await?;
    let client = cluster.admin();
    apply(&cluster, &last_crds()?).await?;
    let mut fields = BTreeSet::new();
    for crd in last_crds()? {
        let mut accepted = BTreeSet::new();
        let objects = generated(&crd)?;
        for object in &objects {
            if let Some(created) = create(&client, object).await? {
                let parts = ["spec", "status"].map(|part| generate::paths(part, &created.data[part]));
                accepted.extend(parts.into_iter().flatten());
            }
        }
        // The first object, which may have been refused, has all fields.
        let parts = ["spec", "status"].map(|part| generate::paths(part, &objects[0][part]));
        let missing: Vec<_> = parts.into_iter().flatten().filter(|path| !accepted.contains(path)).collect();
        ensure!(missing.is_empty(), "no object has {missing:?}");
        fields.append(&mut accepted);
    }
    ensure!(fields.len() > 100, "only {fields:?}");
    let mut created = 0;
    for sample in samples()? {
        created += usize::from(create(&client, &sample).await?.is_some());
    }
    ensure!(created >= 5, "only {created} samples are what the last release accepts");

    let mut before = Vec::new();
    for kind in KINDS {
        let objects = api(client.clone(), kind).list(&ListParams::default()).await?.items;
        before.extend(objects.into_iter().map(|object| (kind, object)));
    }
    apply(&cluster, &marked(todays_crds()?)).await?;
    for kind in KINDS {
        let (_, first) = before.iter().find(|(of, _)| *of == kind).context("none")?;
        wait_until_used(&client, kind, first.metadata.name.as_deref().unwrap_or_default()).await?;
    }
    for (kind, before) in before {
        let api = api(client.clone(), kind);
        let name = before.metadata.name.clone().context("no name")?;
        let context = || format!("{kind} {name}");
        let read = api.get(&name).await.with_context(context)?;
        ensure!(read.data == before.data, "{}: was {:#}, and is read as {:#}", context(), before.data, read.data);
        let label = Patch::Merge(json!({ "metadata": { "labels": { "patched": "yes" } } }));
        api.patch(&name, &PatchParams::default(), &label).await.with_context(context)?;
        let mut whole = api.get(&name).await?;
        whole.metadata.labels.get_or_insert_default().insert("replaced".to_owned(), "yes".to_owned());
        let replaced = api.replace(&name, &PostParams::default(), &whole).await.with_context(context)?;
        let status = api.replace_status(&name, &PostParams::default(), &replaced).await.with_context(context)?;
        for after in [&replaced, &status, &api.get(&name).await?] {
            ensure!(after.data == before.data, "{}: was {:#}, and is {:#}", context(), before.data, after.data);
        }
        ensure!(replaced.metadata.labels.unwrap_or_default().len() >= 2);
        // The API server doesn't check anew what an update leaves as it is, but all of what is restored from a backup or from Git.
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let copy = with_spec(kind, &format!("copy-of-{name}"), &before.data["spec"]);
        let copy = api.create(&dry_run, &copy).await.with_context(|| format!("a copy of {kind} {name}"))?;
        ensure!(copy.data["spec"] == before.data["spec"], "a copy of {kind} {name} is {:#}", copy.data);
    }
    Ok(())
}
