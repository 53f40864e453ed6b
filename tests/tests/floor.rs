//! The policies of the floor, on a real API server: who may manage desktops' objects, and what the controller may create.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret},
    networking::v1::NetworkPolicy,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Request},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use vdi_api::VDISession;
use vdi_cluster::User;
use vdi_tests::{
    objects::{create, session, wait_for, wait_gone},
    shared::with_stack,
    stack::{Stack, bob, controller},
    test_namespace::TestNamespace,
    wait::until,
};

/// A namespace with a desktop that has every kind of object, and in which bob has the ClusterRole `admin`.
async fn namespace_with_editor(stack: &Stack, name: &str) -> Result<(TestNamespace, Client)> {
    let namespace = TestNamespace::new(stack, name).await?;
    let binding = json!({
        "metadata": { "name": "editor" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": bob().name }],
    });
    let bindings: Api<RoleBinding> = Api::namespaced(namespace.client.clone(), name);
    create(&bindings, &serde_json::from_value(binding)?).await?;
    // `kubectl debug` needs this permission, which the ClusterRole `admin` lacks.
    let commands = [
        &["create", "role", "debug", "--verb=patch", "--resource=pods/ephemeralcontainers"][..],
        &["create", "rolebinding", "debug", "--role=debug", "--user", &bob().name],
    ];
    for command in commands {
        stack.kubectl_ok(&User::admin(), command.iter().copied().chain(["-n", name])).await?;
    }
    namespace
        .template(json!({
            "home": { "mountPath": "/home/user", "scope": "Session" },
            "network": { "egress": [{ "cidr": "10.20.0.0/16" }] },
            "basicAuth": { "user": "desk", "passwordEnv": "PASSWORD" },
        }))
        .await?;
    namespace.session("desktop").await?;
    namespace.wait_running("desktop").await?;
    Ok((namespace, stack.cluster.client(&bob()).await?))
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

fn dry_patch() -> PatchParams {
    PatchParams { dry_run: true, ..PatchParams::default() }
}

/// Parses an object that a test writes as JSON.
fn object<K: DeserializeOwned>(object: Value) -> Result<K> {
    Ok(serde_json::from_value(object)?)
}

/// Whether this policy refused the request.
fn is_refused_by<T>(policy: &str, answer: &kube::Result<T>) -> bool {
    is_refused_with(403, policy, answer)
}

fn is_refused_with<T>(code: u16, policy: &str, answer: &kube::Result<T>) -> bool {
    let words = format!("ValidatingAdmissionPolicy '{policy}'");
    matches!(answer, Err(kube::Error::Api(status)) if status.code == code && status.message.contains(&words))
}

fn refused<T>(policy: &str, what: impl std::fmt::Debug, answer: kube::Result<T>) -> Result<()> {
    let message = answer.as_ref().err().map(ToString::to_string);
    ensure!(is_refused_by(policy, &answer), "{what:?} is not refused by {policy}: {message:?}");
    Ok(())
}

fn pod(metadata: Value) -> Value {
    json!({ "metadata": metadata, "spec": { "containers": [{ "name": "mine", "image": "mine" }] } })
}

fn claim(metadata: Value) -> Value {
    let resources = json!({ "requests": { "storage": "1Gi" } });
    json!({ "metadata": metadata, "spec": { "accessModes": ["ReadWriteOnce"], "resources": resources } })
}

/// Checks that objects with a desktop's name or labels are refused, and others are accepted.
async fn check_creation<K>(api: Api<K>, with_metadata: impl Fn(Value) -> Value) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    for metadata in [
        json!({ "name": "vdi-mine" }),
        json!({ "generateName": "vdi-" }),
        json!({ "name": "mine", "labels": { "vdi.kasm.io/session": "desktop" } }),
        json!({ "name": "mine", "labels": { "app.kubernetes.io/managed-by": "vdiwarden" } }),
        json!({ "name": "mine", "labels": { "app.kubernetes.io/name": "vdi-desktop" } }),
    ] {
        refused("vdi-desktops", &metadata, api.create(&dry_run(), &object(with_metadata(metadata.clone()))?).await)?;
    }
    let mine = with_metadata(json!({ "name": "mine", "labels": { "app.kubernetes.io/managed-by": "Helm" } }));
    api.create(&PostParams::default(), &object(mine)?).await.context("an object of another name")?;
    let label = json!({ "metadata": { "labels": { "vdi.kasm.io/session": "desktop" } } });
    refused("vdi-desktops", "a label later", api.patch("mine", &dry_patch(), &Patch::Merge(label)).await)?;
    api.delete("mine", &DeleteParams::default()).await?;
    Ok(())
}

#[test]
fn only_the_controller_creates_objects_that_could_be_a_desktops() -> Result<()> {
    with_stack(async |stack| {
        let (namespace, bob) = namespace_with_editor(stack, "floor-make").await?;
        check_creation::<Pod>(Api::namespaced(bob.clone(), &namespace.name), pod).await?;
        check_creation::<PersistentVolumeClaim>(Api::namespaced(bob.clone(), &namespace.name), claim).await?;
        let secret = |metadata: Value| json!({ "metadata": metadata });
        check_creation::<Secret>(Api::namespaced(bob.clone(), &namespace.name), secret).await?;
        let policy = |metadata: Value| json!({ "metadata": metadata, "spec": { "podSelector": {} } });
        check_creation::<NetworkPolicy>(Api::namespaced(bob.clone(), &namespace.name), policy).await?;

        // Bob can't have a ReplicaSet create one either.
        let replica_set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "vdi-other", "namespace": namespace.name },
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": { "vdi.kasm.io/session": "other" } },
                "template": pod(json!({ "labels": { "vdi.kasm.io/session": "other" } })),
            },
        });
        let sets: Api<k8s_openapi::api::apps::v1::ReplicaSet> = Api::namespaced(bob, &namespace.name);
        create(&sets, &object(replica_set)?).await?;
        wait_for(&sets, "vdi-other", "refused its pod", |set| {
            let conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.filter_map(|condition| condition.message.as_deref()).any(|it| it.contains("vdi-desktops"))
        })
        .await?;
        Ok(())
    })
}

#[test]
fn only_the_controller_changes_a_desktops_objects_or_gets_into_its_pod() -> Result<()> {
    with_stack(async |stack| {
        let (namespace, editor) = namespace_with_editor(stack, "floor-change").await?;
        let pods: Api<Pod> = Api::namespaced(editor.clone(), &namespace.name);
        let policies: Api<NetworkPolicy> = Api::namespaced(editor.clone(), &namespace.name);
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(editor.clone(), &namespace.name);
        let secrets: Api<Secret> = Api::namespaced(editor, &namespace.name);
        let pod = pods.get("vdi-desktop").await?;
        let home = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.volumes.iter().flatten().find_map(|it| it.persistent_volume_claim.as_ref()));
        let home = home.context("no home")?.claim_name.clone();
        let login = secrets.list(&Default::default()).await?.items.into_iter().filter_map(|it| it.metadata.name).next();
        let login = login.context("no login")?;
        let merge = |patch: Value| Patch::Merge(patch);
        let by = "vdi-desktops";

        for (patch, what) in [
            (json!({ "metadata": { "labels": { "app.kubernetes.io/name": null } } }), "a label removed"),
            (json!({ "metadata": { "labels": { "mine": "too" } } }), "a label added"),
            (json!({ "metadata": { "annotations": { "vdi.kasm.io/port": "22" } } }), "where the gateway connects to"),
            (json!({ "metadata": { "annotations": { "vdi.kasm.io/port": null } } }), "an annotation removed"),
            (json!({ "metadata": { "ownerReferences": null } }), "an owner removed"),
            (json!({ "spec": { "activeDeadlineSeconds": 1 } }), "a spec"),
        ] {
            refused(by, what, pods.patch("vdi-desktop", &dry_patch(), &merge(patch)).await)?;
        }
        let image = json!({ "spec": { "containers": [{ "name": "desktop", "image": "mine" }] } });
        refused(by, "an image", pods.patch("vdi-desktop", &dry_patch(), &Patch::Strategic(image)).await)?;
        let debug = json!({ "spec": { "ephemeralContainers": [{ "name": "mine", "image": "mine" }] } });
        refused(
            by,
            "a debug container",
            pods.patch_ephemeral_containers("vdi-desktop", &dry_patch(), &Patch::Strategic(debug)).await,
        )?;
        for command in [
            &["exec", "vdi-desktop", "--", "id"][..],
            &["attach", "vdi-desktop"],
            &["port-forward", "vdi-desktop", "6080"],
        ] {
            let output =
                stack.kubectl(&bob(), ["-n", &namespace.name].into_iter().chain(command.iter().copied())).await?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            ensure!(!output.status.success() && stderr.contains("manage-desktops"), "{command:?}: {stderr}");
        }

        for name in ["vdi-desktops", &own_policy(&policies).await?] {
            let open = json!({ "spec": { "ingress": [{}] } });
            refused(by, name, policies.patch(name, &dry_patch(), &merge(open)).await)?;
            refused(by, name, policies.delete(name, &DeleteParams::default()).await)?;
        }
        let label = json!({ "metadata": { "labels": { "app.kubernetes.io/name": "mine" } } });
        refused(by, &home, claims.patch(&home, &dry_patch(), &merge(label)).await)?;
        refused(by, &home, claims.delete(&home, &DeleteParams::default()).await)?;
        let label = json!({ "metadata": { "labels": { "vdi.kasm.io/session": "mine" } } });
        refused(by, &login, secrets.patch(&login, &dry_patch(), &merge(label)).await)?;

        // Other controllers may add their own annotations and finalizers.
        let note = merge(
            json!({ "metadata": { "annotations": { "csi.example.com/note": "x" }, "finalizers": ["csi.example.com/x"] } }),
        );
        claims.patch(&home, &dry_patch(), &note).await?;
        pods.patch("vdi-desktop", &dry_patch(), &note).await?;
        // RBAC lets bob delete pods.
        pods.delete("vdi-desktop", &DeleteParams { dry_run: true, ..DeleteParams::default() }).await?;
        Ok(())
    })
}

/// The name of the session's own network policy.
async fn own_policy(policies: &Api<NetworkPolicy>) -> Result<String> {
    let names = policies.list(&Default::default()).await?.items.into_iter().filter_map(|it| it.metadata.name);
    names.into_iter().find(|name| name != "vdi-desktops").context("no policy of its own")
}

#[test]
fn in_namespaces_for_desktops_no_other_network_policy_opens_them() -> Result<()> {
    with_stack(async |stack| {
        let (namespace, bob) = namespace_with_editor(stack, "floor-network").await?;
        let policies: Api<NetworkPolicy> = Api::namespaced(bob, &namespace.name);
        let policy = |spec: Value| object(json!({ "metadata": { "name": "mine" }, "spec": spec }));
        let all = policy(json!({ "podSelector": {}, "ingress": [{}] }))?;
        policies.create(&dry_run(), &all).await.context("the namespace isn't labelled as one for desktops")?;

        let namespaces: Api<Namespace> = Api::all(namespace.client.clone());
        let label = json!({ "metadata": { "labels": { "vdi.kasm.io/desktops": "true" } } });
        namespaces.patch(&namespace.name, &PatchParams::default(), &Patch::Merge(label)).await?;
        // The API server sees the label with a short delay.
        let is_in_force = async || Ok(is_refused_by("vdi-network", &policies.create(&dry_run(), &all).await));
        until("vdi-network is in force", is_in_force).await?;
        let others = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "app.kubernetes.io/name", "operator": operator, "values": values }] });
        for selector in [
            json!({ "matchLabels": { "app.kubernetes.io/name": "vdi-desktop" } }),
            json!({ "matchLabels": { "from-a-template": "x" } }),
            others("Exists", json!(null)),
            others("In", json!(["vdi-desktop", "mine"])),
            others("NotIn", json!(["mine"])),
        ] {
            for open in ["ingress", "egress"] {
                let opens = policy(json!({ "podSelector": selector, (open): [{}] }))?;
                refused("vdi-network", &selector, policies.create(&dry_run(), &opens).await)?;
            }
        }
        for selector in [
            json!({ "matchLabels": { "app.kubernetes.io/name": "mine" } }),
            others("In", json!(["mine"])),
            others("NotIn", json!(["vdi-desktop"])),
            others("DoesNotExist", json!(null)),
        ] {
            policies.create(&dry_run(), &policy(json!({ "podSelector": selector, "ingress": [{}] }))?).await?;
        }
        policies.create(&dry_run(), &policy(json!({ "podSelector": {}, "policyTypes": ["Ingress"] }))?).await?;
        // The controller still can.
        namespace.session("another").await?;
        namespace.wait_running("another").await?;
        Ok(())
    })
}

/// A desktop's pod, with the fields of the controller's that the floor checks.
fn desktop(metadata: Value, spec: Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": "vdi-x", "labels": { "app.kubernetes.io/managed-by": "vdiwarden" } },
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            "volumes": [{ "name": "memory", "emptyDir": {} }],
            "containers": [{ "name": "desktop", "image": "desktop" }],
        },
    });
    json_patch::merge(&mut pod, &json!({ "metadata": metadata, "spec": spec }));
    pod
}

#[test]
fn whatever_a_template_says_the_controllers_pods_get_no_access_to_the_node_or_the_cluster() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "floor-pods").await?;
        let client = stack.cluster.client(&controller()).await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace.name);
        pods.create(&dry_run(), &object(desktop(json!({}), json!({})))?).await.context("a desktop")?;
        let container = |changes: Value| {
            let mut container = json!({ "name": "desktop", "image": "desktop" });
            json_patch::merge(&mut container, &changes);
            container
        };
        let in_container = |changes: Value| json!({ "containers": [container(changes)] });
        let security = |context: Value| in_container(json!({ "securityContext": context }));
        let volume = |source: Value| {
            let mut volume = json!({ "name": "x" });
            json_patch::merge(&mut volume, &source);
            json!({ "volumes": [volume] })
        };
        let token = json!({ "sources": [{ "serviceAccountToken": { "path": "token" } }] });
        let secret = json!({ "name": "cloud-keys", "key": "x" });
        for spec in [
            json!({ "automountServiceAccountToken": true }),
            json!({ "automountServiceAccountToken": null }),
            json!({ "hostNetwork": true }),
            json!({ "hostPID": true }),
            json!({ "hostIPC": true }),
            volume(json!({ "hostPath": { "path": "/" } })),
            volume(json!({ "secret": { "secretName": "cloud-keys" } })),
            volume(json!({ "projected": token })),
            volume(json!({ "nfs": { "server": "nas", "path": "/" } })),
            security(json!({ "privileged": true })),
            security(json!({ "capabilities": { "add": ["SYS_ADMIN"] } })),
            security(json!({ "capabilities": { "add": ["NET_RAW"] } })),
            security(json!({ "seccompProfile": { "type": "Unconfined" } })),
            security(json!({ "appArmorProfile": { "type": "Unconfined" } })),
            json!({ "securityContext": null }),
            json!({ "securityContext": { "seccompProfile": { "type": "Unconfined" } } }),
            json!({ "securityContext": { "appArmorProfile": { "type": "Unconfined" } } }),
            in_container(json!({ "ports": [{ "containerPort": 80, "hostPort": 80 }] })),
            in_container(json!({ "env": [{ "name": "X", "valueFrom": { "secretKeyRef": secret } }] })),
            in_container(json!({ "envFrom": [{ "secretRef": { "name": "cloud-keys" } }] })),
            json!({ "initContainers": [container(json!({ "name": "init", "securityContext": { "privileged": true } }))] }),
        ] {
            refused(
                "vdi-controller",
                &spec,
                pods.create(&dry_run(), &object(desktop(json!({}), spec.clone()))?).await,
            )?;
        }
        for metadata in [
            json!({ "name": "x" }),
            json!({ "labels": null }),
            json!({ "labels": { "app.kubernetes.io/managed-by": "Helm" } }),
        ] {
            let pod = object(desktop(metadata.clone(), json!({})))?;
            refused("vdi-controller", &metadata, pods.create(&dry_run(), &pod).await)?;
        }
        let allowed = security(json!({ "capabilities": { "drop": ["ALL"], "add": ["SETUID", "CHOWN"] } }));
        pods.create(&dry_run(), &object(desktop(json!({}), allowed))?)
            .await
            .context("capabilities that images need")?;

        // vdiwarden's own namespace has the Secret with the keys.
        let system: Api<Pod> = Api::namespaced(client.clone(), "vdiwarden-system");
        refused(
            "vdi-controller",
            "its own namespace",
            system.create(&dry_run(), &object(desktop(json!({}), json!({})))?).await,
        )?;
        let secrets: Api<Secret> = Api::namespaced(client, &namespace.name);
        let metadata = json!({
            "name": "vdi-x", "labels": { "app.kubernetes.io/managed-by": "vdiwarden" },
            "annotations": { "kubernetes.io/service-account.name": "default" },
        });
        let token = object(json!({ "metadata": metadata, "type": "kubernetes.io/service-account-token" }))?;
        refused("vdi-controller", "a token", secrets.create(&dry_run(), &token).await)
    })
}

#[test]
fn kubernetes_own_controllers_can_still_manage_desktops() -> Result<()> {
    with_stack(async |stack| {
        let (namespace, _) = namespace_with_editor(stack, "floor-kubernetes").await?;
        // The desktop runs, so the scheduler and the volume controller could bind its home. Once no pod uses the claim, the PVC
        // protection controller releases it, and the garbage collector deletes the session's objects.
        let policies: Api<NetworkPolicy> = Api::namespaced(namespace.client.clone(), &namespace.name);
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(namespace.client.clone(), &namespace.name);
        let own = own_policy(&policies).await?;
        let home = claims.list(&Default::default()).await?.items.into_iter().find_map(|it| it.metadata.name);
        namespace.sessions.delete("desktop", &DeleteParams::background()).await?;
        wait_gone(&namespace.pods, "vdi-desktop").await?;
        wait_gone(&policies, &own).await?;
        wait_gone(&claims, &home.context("no home")?).await?;
        // A namespace is deleted with everything in it.
        namespace.session("another").await?;
        namespace.wait_running("another").await?;
        let namespaces: Api<Namespace> = Api::all(namespace.client.clone());
        namespaces.delete(&namespace.name, &DeleteParams::default()).await?;
        wait_gone(&namespaces, &namespace.name).await
    })
}

#[test]
fn a_session_with_a_time_that_rust_clients_cannot_parse_is_refused() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "floor-fields").await?;
        namespace.template(json!({})).await?;
        let sessions = Request::new(format!("/apis/vdi.kasm.io/v1alpha1/namespaces/{}/vdisessions", namespace.name));
        let create = async |time: &str| {
            let mut session = json!(session("odd", &namespace.name));
            session["metadata"]["managedFields"] = json!([{
                "manager": "kubectl", "operation": "Update", "apiVersion": "vdi.kasm.io/v1alpha1", "time": time,
                "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:annotations": { "f:odd": {} } } },
            }]);
            let create = sessions.create(&dry_run(), session.to_string().into_bytes())?;
            Ok::<_, anyhow::Error>(namespace.client.request_text(create).await)
        };
        for time in ["2026-01-01T12:00:00Z", "2999-12-31T23:59:59Z"] {
            ensure!(create(time).await??.contains(time), "the API server doesn't keep the client's times");
        }
        for time in ["9999-12-31T23:59:59Z", "1999-12-31T23:59:59Z"] {
            let answer = create(time).await?;
            ensure!(is_refused_with(422, "vdi-sessions", &answer), "{time}: {answer:?}");
        }
        // Whatever the API server itself accepts of these can be parsed.
        for time in ["9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "never"] {
            if let Ok(stored) = create(time).await? {
                serde_json::from_str::<VDISession>(&stored).with_context(|| format!("{time}: {stored}"))?;
            }
        }
        Ok(())
    })
}

#[test]
fn the_floors_expressions_pass_the_api_servers_type_check() -> Result<()> {
    with_stack(async |stack| {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(stack.cluster.admin());
        for name in ["vdi-sessions", "vdi-desktops", "vdi-network", "vdi-controller"] {
            let checked = wait_for(&policies, name, "type-checked", |policy: &ValidatingAdmissionPolicy| {
                policy.status.as_ref().is_some_and(|status| status.observed_generation == policy.metadata.generation)
            })
            .await?;
            let warnings = checked.status.and_then(|status| status.type_checking?.expression_warnings);
            let warnings = warnings.unwrap_or_default();
            ensure!(warnings.is_empty(), "{name}: {warnings:#?}");
        }
        Ok(())
    })
}

#[test]
fn without_the_verb_an_account_with_the_controllers_name_cannot_create_desktops() -> Result<()> {
    with_stack(async |stack| {
        // As if vdiwarden were installed in another namespace: RBAC decides, and not the name.
        let namespace = TestNamespace::new(stack, "floor-elsewhere").await?;
        let impostor = "system:serviceaccount:floor-elsewhere:vdi-controller";
        let pod = desktop(json!({ "namespace": namespace.name }), json!({})).to_string();
        let file = vdi_tests::target().join("floor-impostor.json");
        std::fs::write(&file, pod.replacen('{', r#"{"apiVersion": "v1", "kind": "Pod","#, 1))?;
        let binding =
            ["create", "rolebinding", "editor", "-n", &namespace.name, "--clusterrole=edit", "--user", impostor];
        stack.kubectl_ok(&User::admin(), binding).await?;
        let file = file.display().to_string();
        let make = ["create", "--dry-run=server", "-f", &file, "--as", impostor];
        let output = stack.kubectl(&User::admin(), make).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && stderr.contains("manage-desktops"), "{stderr}");
        let bind = ["create", "clusterrolebinding", "elsewhere", "--clusterrole=vdi-controller", "--user", impostor];
        stack.kubectl_ok(&User::admin(), bind).await?;
        stack.kubectl_ok(&User::admin(), make).await?;
        Ok(())
    })
}
