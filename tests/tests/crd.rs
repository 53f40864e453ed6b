//! The CRDs on a real API server, without the policy: what the schema and its CEL rules enforce by themselves.

use anyhow::{Context, Result, ensure};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use vdi_api::{Cpu, Email, Gpus, Memory, Timeout, VDISession, VDITemplate};
use vdi_cluster::{ControlPlane, User};
use vdi_tests::shared::with_crds;

async fn kubectl<const N: usize>(cluster: &ControlPlane, arguments: [&str; N]) -> Result<String> {
    let output = cluster.kubectl(&User::admin(), arguments)?.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// An untyped client: the typed one can't send invalid values.
fn sessions(client: Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client, &ApiResource::erase::<VDISession>(&()))
}

fn session(name: &str, spec: Value) -> DynamicObject {
    DynamicObject::new(name, &ApiResource::erase::<VDISession>(&())).data(json!({ "spec": spec }))
}

fn spec() -> Value {
    json!({ "user": "alice@example.com", "template": "ubuntu-desktop" })
}

/// The API server's error for a new session with this spec; `None` if it accepts it.
async fn refusal(api: &Api<DynamicObject>, name: &str, spec: Value) -> Result<Option<String>> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&dry_run, &session(name, spec)).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn a_session_gets_its_defaults_and_is_pending_from_the_first_moment() -> Result<()> {
    with_crds(async |cluster| {
        let api = sessions(cluster.admin());
        let created = api.create(&PostParams::default(), &session("defaults", spec())).await?;
        let resources = json!({ "gpu": 1, "memory": "4Gi" });
        let expected = json!({
            "user": "alice@example.com", "template": "ubuntu-desktop", "resources": resources, "timeout": "8h", "suspend": false,
        });
        ensure!(created.data["spec"] == expected, "{}", created.data["spec"]);
        ensure!(created.data["status"] == json!({ "phase": "Pending" }), "{}", created.data["status"]);

        let mut half = spec();
        half["resources"] = json!({ "gpu": 2 });
        let created = api.create(&PostParams::default(), &session("half-defaults", half)).await?;
        ensure!(created.data["spec"]["resources"] == json!({ "gpu": 2, "memory": "4Gi" }));
        Ok(())
    })
}

#[test]
fn every_invalid_value_is_refused_with_the_path_of_its_field() -> Result<()> {
    with_crds(async |cluster| {
        let api = sessions(cluster.admin());
        let wrong = [
            (
                "spec.user",
                json!([
                    "",
                    "alice",
                    "alice@example",
                    "al ice@example.com",
                    "@example.com",
                    7,
                    null,
                    ["a@b.c"],
                    "a".repeat(251) + "@b.c"
                ]),
            ),
            ("spec.template", json!(["", 7, null, {}, "t".repeat(254)])),
            ("spec.resources.gpu", json!([0, -1, 1.5, "2", 4_294_967_296_u64, true])),
            (
                "spec.resources.memory",
                json!(["", "0", "-4Gi", "4 GiB", "lots", "400m", "1Ei", 4, "9999999999Ei", "1e400", "NaN"]),
            ),
            ("spec.timeout", json!(["", "0s", "-8h", "8 hours", "8", "1d", 8, "1e400h", "999999999h", "NaN"])),
            ("spec.suspend", json!(["yes", 1])),
        ];
        for (path, values) in wrong {
            for value in values.as_array().context("values")? {
                let mut object = json!({ "spec": spec() });
                object["spec"]["resources"] = json!({});
                set(&mut object, path, value.clone());
                let message = refusal(&api, "wrong", object["spec"].clone()).await?;
                let message = message.with_context(|| format!("{path}: {value} was accepted"))?;
                ensure!(message.contains(path), "{path}: {value} was refused without the path: {message}");
            }
        }
        for missing in ["user", "template"] {
            let mut spec = spec();
            spec.as_object_mut().context("an object")?.remove(missing);
            let message = refusal(&api, "missing", spec).await?.context("accepted")?;
            ensure!(message.contains(&format!("spec.{missing}: Required value")), "{message}");
        }
        Ok(())
    })
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in path.split('.') {
        place = &mut place[name];
    }
    *place = value;
}

#[test]
fn all_invalid_fields_are_reported_at_once() -> Result<()> {
    with_crds(async |cluster| {
        let spec =
            json!({ "user": "alice", "template": "", "resources": { "gpu": 0, "memory": "lots" }, "timeout": "soon" });
        let message = refusal(&sessions(cluster.admin()), "wrong", spec).await?.context("accepted")?;
        for field in ["spec.user", "spec.template", "spec.resources.gpu", "spec.resources.memory", "spec.timeout"] {
            ensure!(message.contains(field), "{field} is missing in: {message}");
        }
        Ok(())
    })
}

#[test]
fn a_name_that_no_pod_or_host_could_have_is_refused() -> Result<()> {
    with_crds(async |cluster| {
        let api = sessions(cluster.admin());
        ensure!(refusal(&api, &"n".repeat(52), spec()).await?.is_none());
        for name in ["n".repeat(53), "a.b".to_owned()] {
            let message = refusal(&api, &name, spec()).await?.with_context(|| format!("{name} was accepted"))?;
            ensure!(message.contains("metadata.name must be"), "{message}");
        }
        Ok(())
    })
}

#[test]
fn user_template_and_resources_never_change_and_timeout_and_suspend_may() -> Result<()> {
    with_crds(async |cluster| {
        let api = sessions(cluster.admin());
        api.create(&PostParams::default(), &session("immutable", spec())).await?;
        for (field, patch) in [
            ("spec.user", json!({ "user": "bob@example.com" })),
            ("spec.template", json!({ "template": "other" })),
            ("spec.resources", json!({ "resources": { "gpu": 2 } })),
            ("spec.resources", json!({ "resources": { "memory": "8Gi" } })),
        ] {
            let patch = Patch::Merge(json!({ "spec": patch }));
            let error = api.patch("immutable", &PatchParams::default(), &patch).await.err();
            let message = error.with_context(|| format!("{field} was changed"))?.to_string();
            ensure!(message.contains(field) && message.contains("is immutable"), "{message}");
        }
        let patch = Patch::Merge(json!({ "spec": { "timeout": "10h", "suspend": true } }));
        api.patch("immutable", &PatchParams::default(), &patch).await?;
        Ok(())
    })
}

/// All crates share one implementation of the rules about values, but the API server needs them as patterns or in CEL. This
/// keeps the two in sync.
#[test]
fn the_api_server_and_the_newtypes_agree_on_every_value() -> Result<()> {
    with_crds(async |cluster| {
        let api = sessions(cluster.admin());
        let mut differences = vec![];
        let memory = "1 0 4Gi 4.5Gi .5Gi 4.Gi . Gi +4Gi -4Gi ++4Gi 4gi 4GB 4K 4k 4m 4000m 1000u 2e9 2E9 2e 2E 2e+9 2e-1 20e-1 1e400 0x10 1_0 \
            1023Pi 1Ei 1E 8E 9999999999Ei 1.2.3 NaN inf 0.1Ki 999999999n 1000000000n 00004Gi 4Gi4Gi";
        let timeout = "8h 0 0s 0h1s 1.5h .5h 5.h . h -8h +8h ++8h 1h30m 30m1h 1h1h 1h-1m 8H 8hours 1d 1w 90 1ns 0.1ns 1us 1µs 1μs 1ms 1e3s \
            9223372036854775807ns 9223372036854775808ns 2562047h 2562048h 1.0000000000000000001h 00008h 1_0h NaN inf";
        let user = "a@b.c a@b a@.c a@b. a@b.c. @b.c a@@b.c a@b@c.d .@..  a a@ é@ü.ö a\u{b}@b.c a\u{a0}@b.c a@b.c\u{2028} a..b@c.d";
        for text in memory.split(' ') {
            let mut spec = spec();
            spec["resources"] = json!({ "memory": text });
            let ours = text.parse::<Memory>().is_ok();
            compare(&api, spec, text, ours, &mut differences).await?;
        }
        for text in timeout.split(' ').filter(|text| !text.is_empty()) {
            let mut spec = spec();
            spec["timeout"] = json!(text);
            compare(&api, spec, text, text.parse::<Timeout>().is_ok(), &mut differences).await?;
        }
        for text in user.split(' ').chain(["a b@c.d", "a@b.c ", " a@b.c", "a\t@b.c", "a@b.c\n"]) {
            let mut spec = spec();
            spec["user"] = json!(text);
            compare(&api, spec, text, text.parse::<Email>().is_ok(), &mut differences).await?;
        }
        for count in [i64::MIN, -1, 0, 1, 8, i64::from(i32::MAX), i64::from(i32::MAX) + 1] {
            let mut spec = spec();
            spec["resources"] = json!({ "gpu": count });
            compare(&api, spec, &count.to_string(), Gpus::try_from(count).is_ok(), &mut differences).await?;
        }
        let resource = ApiResource::erase::<VDITemplate>(&());
        let templates: Api<DynamicObject> = Api::all_with(cluster.admin(), &resource);
        for text in
            "1 0 0m 1m 500m 1.5 1.555 1.5555 .5 1. 9999 10000 1e3 1k +1 -1 0.0 0.001 1234567m 12345678m".split(' ')
        {
            let spec = json!({ "image": "a", "port": 1, "cpu": { "limit": text } });
            let template = DynamicObject::new("compare", &resource).data(json!({ "spec": spec }));
            let dry_run = PostParams { dry_run: true, ..PostParams::default() };
            if templates.create(&dry_run, &template).await.is_ok() != text.parse::<Cpu>().is_ok() {
                differences.push(format!("CPU {text:?}"));
            }
        }
        ensure!(differences.is_empty(), "{differences:#?}");
        Ok(())
    })
}

async fn compare(
    api: &Api<DynamicObject>,
    spec: Value,
    text: &str,
    ours: bool,
    differences: &mut Vec<String>,
) -> Result<()> {
    let theirs = refusal(api, "compare", spec).await?;
    if theirs.is_none() != ours {
        differences.push(format!("{text:?}: ours says {ours}, the API server {theirs:?}"));
    }
    Ok(())
}

#[test]
fn a_new_template_gets_its_defaults_and_invalid_values_are_refused() -> Result<()> {
    with_crds(async |cluster| {
        let resource = ApiResource::erase::<VDITemplate>(&());
        let api: Api<DynamicObject> = Api::all_with(cluster.admin(), &resource);
        let template = |spec: Value| DynamicObject::new("ubuntu-desktop", &resource).data(json!({ "spec": spec }));
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };

        let created = api.create(&dry_run, &template(json!({ "image": "desktop:1", "port": 6080 }))).await?;
        let expected = json!({
            "image": "desktop:1", "port": 6080, "protocol": "http", "path": "/", "sharedMemory": "256Mi",
            "ephemeralStorage": { "request": "1Gi", "limit": "10Gi" }, "hostUsers": true,
            "activity": "auto",
            "probe": { "kind": "http", "path": "/", "periodSeconds": 2, "failureThreshold": 3 },
            "gpu": { "resourceName": "nvidia.com/gpu" }, "securityProfile": "restricted",
            "startDeadline": "5m", "failedRetention": "1h",
        });
        ensure!(created.data["spec"] == expected, "{}", created.data["spec"]);

        for (path, wrong) in [
            ("spec.image", json!({ "image": "", "port": 6080 })),
            ("spec.port", json!({ "image": "desktop:1", "port": 65536 })),
            ("spec.probe.path", json!({ "image": "desktop:1", "port": 6080, "probe": { "path": "health" } })),
            ("spec.sharedMemory", json!({ "image": "desktop:1", "port": 6080, "sharedMemory": "big" })),
            (
                "spec.ephemeralStorage.limit",
                json!({ "image": "desktop:1", "port": 6080, "ephemeralStorage": { "limit": "all" } }),
            ),
            ("spec.startDeadline", json!({ "image": "desktop:1", "port": 6080, "startDeadline": "soon" })),
            ("spec.protocol", json!({ "image": "desktop:1", "port": 6080, "protocol": "ftp" })),
            ("spec.idleTimeout", json!({ "image": "desktop:1", "port": 6080, "idleTimeout": "0s" })),
            ("spec.cpu.limit", json!({ "image": "desktop:1", "port": 6080, "cpu": { "limit": "many" } })),
            (
                "spec.home.size",
                json!({ "image": "desktop:1", "port": 6080, "home": { "mountPath": "/home/x", "size": "big" } }),
            ),
            (
                "spec.home.scope",
                json!({ "image": "desktop:1", "port": 6080, "home": { "mountPath": "/home/x", "scope": "All" } }),
            ),
            ("spec.securityProfile", json!({ "image": "desktop:1", "port": 6080, "securityProfile": "privileged" })),
            ("spec.icon", json!({ "image": "desktop:1", "port": 6080, "icon": "javascript:alert(1)" })),
            (
                "spec.network.egress[0].cidr",
                json!({ "image": "desktop:1", "port": 6080, "network": { "egress": [{ "cidr": "all" }] } }),
            ),
            (
                "spec.gpu: Invalid value: has either",
                json!({ "image": "desktop:1", "port": 6080, "gpu": { "resourceName": "a.b/c", "resourceClaimTemplateName": "d" } }),
            ),
            ("spec.env[1]", json!({ "image": "desktop:1", "port": 6080, "env": [{ "name": "A" }, { "name": "A" }] })),
        ] {
            let message = api.create(&dry_run, &template(wrong)).await.err().context("accepted")?.to_string();
            ensure!(message.contains(path), "{path}: {message}");
        }
        Ok(())
    })
}

#[test]
fn kubectl_shows_the_columns_that_a_user_looks_for_first() -> Result<()> {
    with_crds(async |cluster| {
        sessions(cluster.admin()).create(&PostParams::default(), &session("columns", spec())).await?;
        let status = json!({ "status": {
            "phase": "Running", "url": "https://alice.vdi.example.com", "expiresAt": "2026-01-01T20:00:00Z",
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z",
            }],
        }});
        sessions(cluster.admin()).patch_status("columns", &PatchParams::default(), &Patch::Merge(status)).await?;
        let table = kubectl(cluster, ["get", "vdi", "columns"]).await?;
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        ensure!(rows[0] == ["NAME", "USER", "PHASE", "URL", "EXPIRES", "AGE"], "{table}");
        ensure!(
            rows[1][1..5] == ["alice@example.com", "Running", "https://alice.vdi.example.com", "2026-01-01T20:00:00Z"],
            "{table}"
        );
        let wide = kubectl(cluster, ["get", "vdi", "columns", "-o", "wide"]).await?;
        ensure!(wide.lines().next().is_some_and(|header| header.trim_end().ends_with("REASON")), "{wide}");
        Ok(())
    })
}
