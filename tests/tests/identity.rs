//! Who may do what to whose session, on a real API server. RBAC lets everybody do everything here: the policy decides.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace},
    rbac::v1::{ClusterRole, RoleBinding},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use vdi_api::VDISession;
use vdi_cluster::User;
use vdi_tests::{
    objects::{Space, create, wait_gone},
    shared::with_stack,
    stack::{Stack, alice, bob, carol, robot},
};

/// A namespace in which RBAC lets everybody do everything but act for others, which carol's group may.
async fn open_space(stack: &Stack) -> Result<Space> {
    let space = Space::new(stack, "identity").await?;
    let rule = |verbs: Value| json!([{ "apiGroups": ["vdi.kasm.io"], "resources": ["vdisessions"], "verbs": verbs }]);
    let all = json!(["get", "list", "create", "update", "patch", "delete", "deletecollection"]);
    let everybody = ["system:authenticated", "system:unauthenticated"];
    let roles =
        [("anything", rule(all), &everybody[..]), ("assign", rule(json!(["assign-user"])), &["vdi-delegates"][..])];
    for (name, rules, groups) in roles {
        let role = json!({ "metadata": { "name": name }, "rules": rules });
        create::<ClusterRole>(&Api::all(space.client.clone()), &serde_json::from_value(role)?).await?;
        let group = |group: &&str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group });
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": groups.iter().map(group).collect::<Vec<_>>(),
        });
        let bindings: Api<RoleBinding> = Api::namespaced(space.client.clone(), &space.name);
        create(&bindings, &serde_json::from_value(binding)?).await?;
    }
    Ok(space)
}

async fn anonymous(stack: &Stack) -> Result<Client> {
    let mut kubeconfig = Kubeconfig::read_from(stack.cluster.kubeconfig(&User::admin())?)?;
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = Some(Default::default());
    }
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?.try_into()?)
}

fn resource() -> ApiResource {
    ApiResource::erase::<VDISession>(&())
}

/// Alice's session, labelled with its name.
fn alices(name: &str, timeout: &str) -> DynamicObject {
    let spec = json!({ "user": "alice@example.com", "template": "none", "timeout": timeout });
    let mut session = DynamicObject::new(name, &resource()).data(json!({ "spec": spec }));
    session.labels_mut().insert("name".to_owned(), name.to_owned());
    session
}

const OPERATIONS: [&str; 7] = ["create", "update", "patch", "apply", "take", "delete", "deletecollection"];

/// Does it to a session of alice's, which is there before except for `create`.
async fn attempt(api: &Api<DynamicObject>, operation: &str, name: &str, requester: &str) -> kube::Result<()> {
    let (merge, force) = (PatchParams::default(), PatchParams::apply("matrix").force());
    match operation {
        "create" => api.create(&PostParams::default(), &alices(name, "8h")).await.map(drop),
        "update" => {
            let mut session = api.get(name).await?;
            session.data["spec"]["timeout"] = json!("9h");
            api.replace(name, &PostParams::default(), &session).await.map(drop)
        }
        "patch" => api.patch(name, &merge, &Patch::Merge(json!({ "spec": { "timeout": "9h" } }))).await.map(drop),
        "apply" => api.patch(name, &force, &Patch::Apply(alices(name, "9h"))).await.map(drop),
        "take" => api.patch(name, &merge, &Patch::Merge(json!({ "spec": { "user": requester } }))).await.map(drop),
        "delete" => api.delete(name, &DeleteParams::default()).await.map(drop),
        _ => {
            let one = ListParams::default().labels(&format!("name={name}"));
            api.delete_collection(&DeleteParams::default(), &one).await.map(drop)
        }
    }
}

#[test]
fn who_may_do_what_to_alices_session() -> Result<()> {
    with_stack(async |stack| {
        let space = open_space(stack).await?;
        let admin: Api<DynamicObject> = Api::namespaced_with(space.client.clone(), &space.name, &resource());
        // "yes"; "no" is refused by the policy; "immutable" is let through by it as far as identity goes, and refused by the
        // rule that a user never changes.
        #[rustfmt::skip]
    let matrix = [
        // requester                                       create  update  patch   apply   take         delete  deletecollection
        ("alice@example.com", stack.cluster.client(&alice()).await?,
                                                          ["yes",  "yes",  "yes",  "yes",  "yes",       "yes",  "yes"]),
        ("bob@example.com", stack.cluster.client(&bob()).await?,
                                                          ["no",   "no",   "no",   "no",   "no",        "no",   "no"]),
        ("carol@example.com", stack.cluster.client(&carol()).await?,
                                                          ["yes",  "yes",  "yes",  "yes",  "immutable", "yes",  "yes"]),
        ("kubernetes-admin", stack.cluster.admin(),
                                                          ["yes",  "yes",  "yes",  "yes",  "immutable", "yes",  "yes"]),
        ("system:serviceaccount:desktops:robot", stack.cluster.client(&robot()).await?,
                                                          ["no",   "no",   "no",   "no",   "no",        "no",   "no"]),
        ("system:anonymous", anonymous(stack).await?,
                                                          ["no",   "no",   "no",   "no",   "no",        "no",   "no"]),
    ];
        let mut wrong = vec![];
        for (row, (requester, client, cells)) in matrix.into_iter().enumerate() {
            let api: Api<DynamicObject> = Api::namespaced_with(client, &space.name, &resource());
            for (operation, expected) in OPERATIONS.into_iter().zip(cells) {
                let name = format!("{operation}-{row}");
                if operation != "create" {
                    admin.create(&PostParams::default(), &alices(&name, "8h")).await?;
                }
                let done = attempt(&api, operation, &name, requester).await;
                let answer = match &done {
                    Ok(()) => "yes".to_owned(),
                    Err(kube::Error::Api(status))
                        if status.message.contains("(immutable-fields)")
                            && !status.message.contains("(user-identity)") =>
                    {
                        "immutable".to_owned()
                    }
                    Err(kube::Error::Api(status)) if status.message.contains("(user-identity)") => "no".to_owned(),
                    Err(error) => error.to_string(),
                };
                // A refusal leaves everything as it was, and what is accepted happens.
                let stored = admin.get_opt(&name).await?;
                let timeout = stored.as_ref().map(|session| session.data["spec"]["timeout"].clone());
                let expected_after = match (operation, expected == "yes") {
                    ("create", true)
                    | ("take", _)
                    | ("update" | "patch" | "apply" | "delete" | "deletecollection", false) => Some(json!("8h")),
                    ("update" | "patch" | "apply", true) => Some(json!("9h")),
                    _ => None,
                };
                if answer != expected || timeout != expected_after {
                    wrong.push(format!(
                        "{requester} {operation}: {answer}, not {expected}; then its timeout is {timeout:?}"
                    ));
                }
            }
        }
        ensure!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    })
}

#[test]
fn what_is_stored_says_who_made_it_whatever_the_client_sent() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "stamps").await?;
        let sessions: Api<DynamicObject> = Api::namespaced_with(space.client.clone(), &space.name, &resource());
        let mut forged = alices("forged", "8h");
        forged.annotations_mut().insert("vdi.kasm.io/created-by".to_owned(), "root".to_owned());
        forged.data["spec"]["user"] = json!("alice@EXAMPLE.com");
        let apply = PatchParams::apply("test").force();
        for _ in 0..2 {
            let stored = sessions.patch("forged", &apply, &Patch::Apply(&forged)).await?;
            ensure!(stored.annotations()["vdi.kasm.io/created-by"] == "kubernetes-admin", "{:?}", stored.annotations());
            ensure!(stored.data["spec"]["user"] == "alice@example.com", "{}", stored.data);
        }

        Ok(())
    })
}

#[test]
fn kubernetes_own_controllers_delete_what_belongs_to_nothing_and_namespaces_full_of_sessions() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "full").await?;
        let sessions: Api<DynamicObject> = Api::namespaced_with(space.client.clone(), &space.name, &resource());
        let owners: Api<ConfigMap> = Api::namespaced(space.client.clone(), &space.name);
        let owner: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "owner" } }))?;
        let owner = create(&owners, &owner).await?;
        let mut owned = alices("owned", "8h");
        owned.metadata.owner_references = Some(vec![serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid().context("no uid")?, "blockOwnerDeletion": true,
        }))?]);
        sessions.create(&PostParams::default(), &owned).await?;
        let foreground =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
        owners.delete("owner", &foreground).await?;
        wait_gone(&space.sessions, "owned").await?;
        for number in 0..20 {
            sessions.create(&PostParams::default(), &alices(&format!("session-{number}"), "8h")).await?;
        }
        let namespaces: Api<Namespace> = Api::all(space.client.clone());
        namespaces.delete(&space.name, &DeleteParams::default()).await?;
        wait_gone(&namespaces, &space.name).await
    })
}
