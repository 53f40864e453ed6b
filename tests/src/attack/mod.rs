//! An attacker with a user's rights tries everything that these allow, and much that they don't, next to users who just work at
//! their desktops.

mod attacker;
mod bystander;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use k8s_openapi::api::{
    core::v1::Pod,
    networking::v1::{NetworkPolicy, NetworkPolicySpec},
    rbac::v1::RoleBinding,
};
use kube::{Api, Resource, ResourceExt, api::ListParams, core::Request};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use vdi_api::VDISession;

use self::{attacker::Attacker, bystander::Bystander};
use crate::{
    fixture::Fixture,
    gateway::Gateway,
    objects::{create, template},
    stack::{Settings, alice, bob, carol, mallory},
    test_namespace::TestNamespace,
};

/// The most GPUs that the policy allows a user at a time.
const MOST_GPUS: u64 = 4;
/// The number of attempts with each seed.
const ATTEMPTS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// The product under attack: a cluster with the floor, the policy, a controller and a gateway.
pub struct Siege {
    gateway: Gateway,
    fixture: Fixture,
    /// The number of seeds played so far.
    rounds: usize,
}

impl Siege {
    /// Starts it, with its state in `directory`.
    pub async fn start(directory: &Path) -> Result<Self> {
        let policy = json!({ "perUser": { "gpus": MOST_GPUS } });
        // Without leader election, a killed controller's successor starts at once.
        let fixture =
            Fixture::with_settings(directory, &["--leader-elect=false"], Settings { policy, ..Settings::default() })
                .await?;
        let gateway = fixture.gateway("gateway", fixture.public_port, &[]).await?;
        for (name, changes) in attacker::templates(fixture.desktop_port) {
            create(&Api::all(fixture.stack.cluster.admin()), &template(name, changes)?).await?;
        }
        Ok(Self { gateway, fixture, rounds: 0 })
    }

    /// Plays the attack of a seed. Returns how many attempts succeeded.
    pub async fn play(&mut self, seed: u64) -> Result<usize> {
        self.rounds += 1;
        let name = format!("attack-{}", self.rounds);
        let logs = self.fixture.stack.cluster.logs();
        let round = self.round(seed, &name).await;
        round.with_context(|| {
            format!("`cargo xtask attack --seed {seed}` tries the same again; logs are in {}", logs.display())
        })
    }

    async fn round(&mut self, seed: u64, name: &str) -> Result<usize> {
        let namespace = TestNamespace::new(&self.fixture.stack, name).await?;
        let users = json!({
            "metadata": { "name": "vdi-users" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "vdi-user" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "vdi-users" }],
        });
        create::<RoleBinding>(&Api::namespaced(namespace.client.clone(), name), &serde_json::from_value(users)?)
            .await?;
        let mut bystanders = Vec::new();
        for user in [alice(), bob()] {
            bystanders.push(Bystander::start(&self.gateway, &self.fixture, &namespace, user).await?);
        }
        let policies: Api<NetworkPolicy> = Api::namespaced(namespace.client.clone(), name);
        let isolation = policies.get("vdi-desktops").await?.spec.context("no policy")?;

        let mut rng = Rng::with_seed(seed);
        let client = self.fixture.stack.cluster.client(&mallory()).await?;
        let mut attacker = Attacker::new(client, &namespace, Rng::with_seed(rng.u64(..)));
        let mut taken = 0;
        for attempt in 0..ATTEMPTS {
            let (what, result) = attacker.attempt().await;
            taken += usize::from(result.is_ok());
            // A restarted controller reads all objects anew, however odd.
            if rng.u8(..) < 4 {
                self.fixture.stack.kill_controller()?;
                self.fixture.stack.start_controller().await?;
            }
            let holds = self.holds(&namespace, &bystanders, &isolation).await;
            holds.with_context(|| format!("after attempt {attempt}, {what}, which was answered by {result:?}"))?;
        }
        // So does a new gateway.
        self.gateway = self.fixture.gateway("gateway", vdi_cluster::free_port()?, &[]).await?;
        for bystander in &mut bystanders {
            bystander.reaches(&self.gateway).await?;
        }
        // A user who starts now gets a desktop and can open it.
        Bystander::start(&self.gateway, &self.fixture, &namespace, carol()).await?;
        self.settles(&namespace).await?;
        self.clear(&namespace).await?;
        Ok(taken)
    }

    /// Checks what must hold at any time.
    async fn holds(
        &self,
        namespace: &TestNamespace,
        bystanders: &[Bystander],
        isolation: &NetworkPolicySpec,
    ) -> Result<()> {
        let policies: Api<NetworkPolicy> = Api::namespaced(namespace.client.clone(), &namespace.name);
        let policy = policies.get("vdi-desktops").await?;
        ensure!(policy.spec.as_ref() == Some(isolation), "the namespace's policy is {policy:#?}");
        for bystander in bystanders {
            bystander.is_undisturbed(namespace).await?;
            for policy in policies.list(&ListParams::default()).await? {
                let is_theirs = policy.owner_references().iter().any(|owner| owner.uid == bystander.uid);
                let selects = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
                let selected = selects.and_then(|selector| selector.match_labels.as_ref());
                let is_for_them = selected.is_some_and(|labels| labels.values().any(|value| *value == bystander.uid));
                ensure!(is_theirs == is_for_them, "{} opens the network of {}", policy.name_any(), bystander.session);
            }
        }
        let pods = namespace.pods.list(&ListParams::default()).await?;
        let gpus: u64 = pods.iter().filter(|pod| attacker::is_theirs(pod)).map(gpus_of).sum();
        ensure!(gpus <= MOST_GPUS, "the attacker holds {gpus} GPUs");
        Ok(())
    }

    /// Waits until no pod is left whose session is gone or being deleted, whatever the attacker did.
    async fn settles(&self, namespace: &TestNamespace) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sessions = sessions(namespace).await?;
            let lives = |uid: &str| {
                let session = sessions.iter().find(|session| session["metadata"]["uid"] == uid);
                session.is_some_and(|session| session["metadata"]["deletionTimestamp"].is_null())
            };
            let pods = namespace.pods.list(&ListParams::default()).await?.items;
            let left = pods.iter().filter(|pod| !pod.owner_references().iter().any(|owner| lives(&owner.uid)));
            let left: Vec<String> = left.map(ResourceExt::name_any).collect();
            if left.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no session has these pods: {left:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Deletes everything, and checks that nothing is left.
    async fn clear(&self, namespace: &TestNamespace) -> Result<()> {
        for session in sessions(namespace).await? {
            let name = session["metadata"]["name"].as_str().context("no name")?;
            let free = json!({ "metadata": { "finalizers": null } });
            for result in [
                attacker::patch(&namespace.client, &namespace.name, name, &free).await,
                attacker::delete(&namespace.client, &namespace.name, name).await,
            ] {
                // The session may be gone already.
                ensure!(matches!(&result, Ok(()) | Err(kube::Error::Api(_))), "{name}: {result:?}");
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pods = namespace.pods.list_metadata(&ListParams::default()).await?.items.len();
            let policies: Api<NetworkPolicy> = Api::namespaced(namespace.client.clone(), &namespace.name);
            let policies = policies.list_metadata(&ListParams::default()).await?.items.len();
            if (pods, policies) == (0, 1) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{pods} pods and {policies} network policies are left");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// All sessions of the namespace, as JSON: a typed client can't parse all of them.
async fn sessions(namespace: &TestNamespace) -> Result<Vec<Value>> {
    let list = Request::new(VDISession::url_path(&(), Some(&namespace.name))).list(&ListParams::default())?;
    let list: Value = namespace.client.request(list).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// The GPUs that a pod holds, none once it has ended.
fn gpus_of(pod: &Pod) -> u64 {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let limits =
        pod.spec.iter().flat_map(|spec| &spec.containers).filter_map(|c| c.resources.as_ref()?.limits.as_ref());
    let gpus = limits.filter_map(|limits| limits.get("nvidia.com/gpu")?.0.parse::<u64>().ok()).sum();
    if matches!(phase, Some("Succeeded" | "Failed")) { 0 } else { gpus }
}
