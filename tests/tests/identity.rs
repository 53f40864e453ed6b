//! Who may do what to whose session, on a real API server. RBAC allows everything here, so that the policy decides.

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
    objects::{create, wait_gone},
    shared::with_stack,
    stack::{Settings, Stack, alice, bob, carol, controller, gateway, robot},
    test_namespace::TestNamespace,
};

/// A namespace in which RBAC allows everybody everything except acting for others, which only carol's group may. The controller
/// and the gateway have the rights that the chart grants.
async fn open_namespace(stack: &Stack, name: &str) -> Result<TestNamespace> {
    let namespace = TestNamespace::new(stack, name).await?;
    let rule = |verbs: Value| json!([{ "apiGroups": ["vdi.kasm.io"], "resources": ["vdisessions"], "verbs": verbs }]);
    let all = json!(["get", "list", "create", "update", "patch", "delete", "deletecollection"]);
    let everybody = ["system:authenticated", "system:unauthenticated"];
    let roles =
        [("anything", rule(all), &everybody[..]), ("assign", rule(json!(["assign-user"])), &["vdi-delegates"][..])];
    for (role, rules, groups) in roles {
        // Other tests of this binary have their own, in the same cluster.
        let name = format!("{role}-{}", namespace.name);
        let role = json!({ "metadata": { "name": name }, "rules": rules });
        create::<ClusterRole>(&Api::all(namespace.client.clone()), &serde_json::from_value(role)?).await?;
        let group = |group: &&str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group });
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": groups.iter().map(group).collect::<Vec<_>>(),
        });
        let bindings: Api<RoleBinding> = Api::namespaced(namespace.client.clone(), &namespace.name);
        create(&bindings, &serde_json::from_value(binding)?).await?;
    }
    Ok(namespace)
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

const OPERATIONS: [&str; 12] = [
    "create",
    "update",
    "patch",
    "apply",
    "suspend",
    "take",
    "delete",
    "deletecollection",
    "finalizer",
    "finalized",
    "orphan",
    "orphancollection",
];

fn orphan() -> DeleteParams {
    DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() }
}

/// Runs an operation on a session of alice's, which exists unless the operation creates it.
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
        "suspend" => api.patch(name, &merge, &Patch::Merge(json!({ "spec": { "suspend": true } }))).await.map(drop),
        "take" => api.patch(name, &merge, &Patch::Merge(json!({ "spec": { "user": requester } }))).await.map(drop),
        "delete" => api.delete(name, &DeleteParams::default()).await.map(drop),
        "finalizer" => {
            let finalizers = json!({ "metadata": { "finalizers": ["example.com/stuck"] } });
            api.patch(name, &merge, &Patch::Merge(finalizers)).await.map(drop)
        }
        "finalized" => {
            let mut session = alices(name, "8h");
            session.metadata.finalizers = Some(vec!["orphan".to_owned()]);
            api.create(&PostParams::default(), &session).await.map(drop)
        }
        "orphan" => api.delete(name, &orphan()).await.map(drop),
        collection => {
            let one = ListParams::default().labels(&format!("name={name}"));
            let how = if collection == "orphancollection" { orphan() } else { DeleteParams::default() };
            api.delete_collection(&how, &one).await.map(drop)
        }
    }
}

/// Why a request was refused, from the message of the policy, the floor or the CRD.
fn refusal(message: &str) -> Option<&'static str> {
    let contains = |text: &str| message.contains(text);
    let by_floor = contains("ValidatingAdmissionPolicy 'vdi-sessions'");
    match () {
        () if contains("(user-identity)") || by_floor && contains("assign-user") => Some("no"),
        () if contains("(no-orphans)") || by_floor && contains("vdisessions/finalizers") => Some("stuck"),
        // By the policy, or by the CRD, which comes before the floor.
        () if contains("(immutable-fields)") || contains("spec.user: Invalid value") && contains("is immutable") => {
            Some("immutable")
        }
        () => None,
    }
}

/// Tries every operation as every user. The policy, the floor and both together give the same answers.
async fn matrix(stack: &Stack) -> Result<()> {
    let namespace = open_namespace(stack, "identity").await?;
    let admin: Api<DynamicObject> = Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource());
    let client = async |user: User| anyhow::Ok((user.name.clone(), stack.cluster.client(&user).await?));
    // "no": the session is alice's. "immutable": spec.user never changes, even for those who may act for others. "stuck": the
    // session or its pod would remain after a deletion.
    #[rustfmt::skip]
    let rows = [
        // requester                   create  update  patch   apply   suspend  take         delete  collection  finalizer  finalized  orphan   orphans
        (client(alice()).await?,      ["yes",  "yes",  "yes",  "yes",  "yes",   "yes",       "yes",  "yes",      "stuck",   "stuck",   "stuck", "stuck"]),
        (client(bob()).await?,        ["no",   "no",   "no",   "no",   "no",    "no",        "no",   "no",       "no",      "no",      "no",    "no"]),
        (client(carol()).await?,      ["yes",  "yes",  "yes",  "yes",  "yes",   "immutable", "yes",  "yes",      "stuck",   "stuck",   "stuck", "stuck"]),
        (client(User::admin()).await?, ["yes", "yes",  "yes",  "yes",  "yes",   "immutable", "yes",  "yes",      "yes",     "yes",     "yes",   "yes"]),
        (client(controller()).await?, ["yes",  "yes",  "yes",  "yes",  "yes",   "immutable", "yes",  "yes",      "yes",     "yes",     "yes",   "yes"]),
        (client(gateway()).await?,    ["no",   "yes",  "yes",  "yes",  "no",    "no",        "no",   "no",       "no",      "no",      "no",    "no"]),
        (client(robot()).await?,      ["no",   "no",   "no",   "no",   "no",    "no",        "no",   "no",       "no",      "no",      "no",    "no"]),
        (("system:anonymous".to_owned(), anonymous(stack).await?),
                                      ["no",   "no",   "no",   "no",   "no",    "no",        "no",   "no",       "no",      "no",      "no",    "no"]),
    ];
    let mut wrong = vec![];
    for (row, ((requester, client), cells)) in rows.into_iter().enumerate() {
        let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace.name, &resource());
        for (operation, expected) in OPERATIONS.into_iter().zip(cells) {
            let name = format!("{operation}-{row}");
            let creates = matches!(operation, "create" | "finalized");
            if !creates {
                admin.create(&PostParams::default(), &alices(&name, "8h")).await?;
            }
            let done = attempt(&api, operation, &name, &requester).await;
            let answer = match &done {
                Ok(()) => "yes".to_owned(),
                Err(kube::Error::Api(status)) => {
                    refusal(&status.message).map_or_else(|| status.message.clone(), str::to_owned)
                }
                Err(error) => error.to_string(),
            };
            // Without the policy, the CRD refuses to change the user before the floor is evaluated.
            let is_as_expected = answer == expected
                || operation == "take" && answer == "immutable" && expected == "no" && !stack.has_webhook();
            // A refused operation changes nothing, and an accepted one takes effect.
            let stored = admin.get_opt(&name).await?;
            let now = stored.as_ref().map(|session| {
                let spec = &session.data["spec"];
                (spec["timeout"].clone(), spec["suspend"] == true, session.finalizers().to_vec())
            });
            let unchanged = || (json!("8h"), false, vec![]);
            let expected_now = match (operation, expected == "yes") {
                ("create", true) | ("take", _) => Some(unchanged()),
                ("create" | "finalized", false) => None,
                (_, false) => Some(unchanged()),
                ("update" | "patch" | "apply", true) => Some((json!("9h"), false, vec![])),
                ("suspend", true) => Some((json!("8h"), true, vec![])),
                ("finalizer", true) => Some((json!("8h"), false, vec!["example.com/stuck".to_owned()])),
                ("finalized", true) => Some((json!("8h"), false, vec!["orphan".to_owned()])),
                // The garbage collector removes its own finalizer with a short delay.
                ("orphan" | "orphancollection", true) => {
                    now.clone().filter(|(.., finalizers)| finalizers == &["orphan"])
                }
                (_, true) => None,
            };
            if !is_as_expected || now != expected_now {
                wrong.push(format!("{requester} {operation}: {answer}, not {expected}; afterwards {now:?}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[test]
fn who_may_do_what_to_alices_session() -> Result<()> {
    with_stack(matrix)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_to_alices_session_by_the_policy_alone() -> Result<()> {
    let directory = vdi_tests::target().join("clusters/identity-policy");
    let stack = Stack::without_controller(&directory, Settings { floor: false, ..Settings::default() }).await?;
    matrix(&stack).await?;
    brokered(&stack, "brokered").await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_to_alices_session_by_the_floor_alone() -> Result<()> {
    let directory = vdi_tests::target().join("clusters/identity-floor");
    let stack = Stack::without_controller(&directory, Settings { webhook: false, ..Settings::default() }).await?;
    matrix(&stack).await?;
    brokered(&stack, "brokered").await
}

/// The annotations by which the gateway says for whom it writes.
fn on_behalf_of(user: &str) -> Value {
    json!({ "vdi.kasm.io/on-behalf-of": user, "vdi.kasm.io/on-behalf-of-groups": "vdi-users" })
}

/// Tries what the gateway, or somebody with its token, might write for people. The policy and the floor agree.
async fn brokered(stack: &Stack, name: &str) -> Result<()> {
    let namespace = open_namespace(stack, name).await?;
    let api = async |user: User| {
        let client = stack.cluster.client(&user).await?;
        anyhow::Ok(Api::<DynamicObject>::namespaced_with(client, &namespace.name, &resource()))
    };
    let (admin, gateway, alice_herself) = (api(User::admin()).await?, api(gateway()).await?, api(alice()).await?);
    let (alice, bob, carol) = ("alice@example.com", "bob@example.com", "carol@example.com");
    // Carol may act for others, and not through the gateway: a stolen token would make everybody of anybody.
    for (number, (person, may)) in
        [(alice, true), (bob, false), (carol, false), ("system:admin", false)].into_iter().enumerate()
    {
        let name = format!("brokered-{number}");
        let mut session = alices(&name, "8h");
        session.metadata.labels = None;
        session.metadata.annotations = serde_json::from_value(on_behalf_of(person))?;
        let created = gateway.create(&PostParams::default(), &session).await;
        ensure!(created.is_ok() == may, "{person} creates: {created:?}");
        if !may {
            admin.create(&PostParams::default(), &alices(&name, "8h")).await?;
        }
        for spec in [json!({ "suspend": true }), json!({ "timeout": "9h" })] {
            let patch = json!({ "metadata": { "annotations": on_behalf_of(person) }, "spec": spec });
            let patched = gateway.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
            ensure!(patched.is_ok() == may, "{person} writes {spec}: {patched:?}");
        }
        let deleted = gateway.delete(&name, &DeleteParams::default()).await;
        ensure!(deleted.is_ok() == may, "{person} deletes: {deleted:?}");
    }

    // What is nobody's but the gateway's to say.
    let mut claim = alices("claim", "8h");
    claim.metadata.annotations = serde_json::from_value(on_behalf_of(alice))?;
    let forged = alice_herself.create(&PostParams::default(), &claim).await;
    ensure!(forged.as_ref().is_err_and(|error| error.to_string().contains("on-behalf-of")), "{forged:?}");
    gateway
        .create(
            &PostParams::default(),
            &DynamicObject { metadata: kube::api::ObjectMeta { labels: None, ..claim.metadata.clone() }, ..claim },
        )
        .await?;
    let groups = json!({ "metadata": { "annotations": { "vdi.kasm.io/on-behalf-of-groups": "artists" } } });
    let forged = alice_herself.patch("claim", &PatchParams::default(), &Patch::Merge(groups)).await;
    ensure!(forged.as_ref().is_err_and(|error| error.to_string().contains("on-behalf-of")), "{forged:?}");
    let own = json!({ "metadata": { "labels": { "mine": "yes" } }, "spec": { "timeout": "10h" } });
    alice_herself
        .patch("claim", &PatchParams::default(), &Patch::Merge(own))
        .await
        .context("what was there may stay")?;
    if stack.has_floor() {
        for metadata in [
            json!({ "labels": { "mine": "no" } }),
            json!({ "annotations": { "example.com/other": "x" } }),
            json!({ "finalizers": ["foregroundDeletion"] }),
        ] {
            let mut patch = json!({ "metadata": metadata, "spec": { "timeout": "11h" } });
            for (name, value) in on_behalf_of(alice).as_object().into_iter().flatten() {
                patch["metadata"]["annotations"][name] = value.clone();
            }
            let written = gateway.patch("claim", &PatchParams::default(), &Patch::Merge(patch)).await;
            ensure!(
                written.as_ref().is_err_and(|error| error.to_string().contains("write nothing else")),
                "{written:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_gateway_writes_sessions_for_the_person_that_it_names_and_for_nobody_else() -> Result<()> {
    with_stack(async |stack| brokered(stack, "brokered").await)
}

#[test]
fn a_stored_session_names_its_creator_whatever_the_client_sent() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "stamps").await?;
        let sessions: Api<DynamicObject> = Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource());
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
fn kubernetes_own_controllers_can_delete_sessions_of_deleted_owners_and_whole_namespaces() -> Result<()> {
    with_stack(async |stack| {
        let namespace = TestNamespace::new(stack, "full").await?;
        let sessions: Api<DynamicObject> = Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource());
        let owners: Api<ConfigMap> = Api::namespaced(namespace.client.clone(), &namespace.name);
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
        wait_gone(&namespace.sessions, "owned").await?;
        for number in 0..20 {
            sessions.create(&PostParams::default(), &alices(&format!("session-{number}"), "8h")).await?;
        }
        let namespaces: Api<Namespace> = Api::all(namespace.client.clone());
        namespaces.delete(&namespace.name, &DeleteParams::default()).await?;
        wait_gone(&namespaces, &namespace.name).await
    })
}
