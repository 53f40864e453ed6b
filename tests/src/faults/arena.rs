//! A cluster, and controllers that reach it through a proxy.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};
use vdi_api::{VDISession, desktop_pod::MANAGED_BY_SELECTOR};
use vdi_cluster::SimulatedNodes;

use super::{
    actions,
    invariants::{self, Seen},
    length::Length,
    proxy::Proxy,
};
use crate::{
    audit,
    objects::wait_gone,
    process,
    replica::Replica,
    stack::{self, ControllerLaunch, Settings, Stack, controller},
    step,
    test_namespace::TestNamespace,
};

/// How long it may take to settle. After a storm, a watch waits for up to half a minute.
const PATIENCE: Duration = Duration::from_secs(120);
/// A controller without requests for this long has nothing left to do.
const QUIET: Duration = Duration::from_secs(2);

/// The most requests of one kind about one object during a run with faults.
const MOST: usize = 60;

/// The controllers' flags, besides where they listen.
///
/// Without leader election: after a crash, the next one would wait until the lease expires.
const CONTROLLER_FLAGS: &[&str] = &["--leader-elect=false"];

pub struct Arena {
    pub stack: Stack,
    pub proxy: Proxy,
    /// Its server is the proxy.
    kubeconfig: PathBuf,
    _nodes: SimulatedNodes,
    /// Only one scenario runs at a time, because a controller sees all namespaces. Counts the scenarios.
    pub(super) turn: Mutex<usize>,
}

impl Arena {
    /// Starts everything except a controller, with its state in `directory`, whose `logs/` remains. Five nodes with 32 GPUs each
    /// are too few for all sessions of a long run.
    pub async fn start(directory: &Path) -> Result<Self> {
        step("Building the controller and the gateway", process::blocking(stack::build)).await?;
        let flags = CONTROLLER_FLAGS.iter().map(|flag| flag.to_string()).collect();
        let settings = Settings { webhook: false, controller: flags, ..Settings::default() };
        let stack = Stack::without_controller(directory, settings).await?;
        let nodes = SimulatedNodes::start(&stack.cluster, 5, 32).await?;
        let proxy = Proxy::start(stack.cluster.client(&controller()).await?).await?;
        let kubeconfig = stack.controller_launch()?.kubeconfig.with_file_name("proxy.kubeconfig");
        // Without credentials: the proxy adds the controller's.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy", "users": [],
            "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{}", proxy.address) } }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "" } }],
        });
        std::fs::write(&kubeconfig, config.to_string())?;
        let arena = Self { stack, proxy, kubeconfig, _nodes: nodes, turn: Mutex::new(0) };
        actions::templates(arena.stack.cluster.admin()).await?;
        Ok(arena)
    }

    /// Starts a controller that reaches the API server through the proxy.
    pub fn controller(&self) -> Result<Replica> {
        self.launch(self.stack.controller_launch()?)
    }

    /// The same, with a different command or different flags.
    pub fn launch(&self, launch: ControllerLaunch) -> Result<Replica> {
        self.stack.launch(ControllerLaunch { kubeconfig: self.kubeconfig.clone(), ..launch })
    }

    /// Waits until everything has settled, and checks that no trace of the faults remains.
    pub async fn check(
        &self,
        namespace: &TestNamespace,
        mut controllers: Vec<Replica>,
        lasting: BTreeSet<String>,
        length: Length,
    ) -> Result<()> {
        for controller in &mut controllers {
            controller.wait_until_ready().await?;
        }
        let mut rounds = 0;
        loop {
            self.wait_until_settled(namespace, &lasting).await?;
            let asked = self.asked_in_silence(length).await?;
            if asked.is_empty() {
                break;
            }
            rounds += 1;
            // A watch that was interrupted waits, and then lists. What is free is told a few seconds late. After that, there is no
            // reason for requests.
            let is_late =
                |request: &audit::Request| request.verb == "list" || request.resource == "vditemplates/status";
            if !asked.iter().all(is_late) || rounds > 5 {
                bail!("everything is settled, and yet the controller asks for {:?}", names(&asked));
            }
        }
        let before = versions(namespace).await?;
        for controller in controllers {
            controller.kill()?;
        }

        let launch = self.stack.controller_launch()?;
        let mut fresh = self.stack.launch(ControllerLaunch { name: "vdi-controller-fresh", ..launch })?;
        let start = audit::end(&self.stack.cluster)?;
        fresh.wait_until_ready().await?;
        sleep(length.silence()).await;
        let mut asked = self.asked_since(start)?;
        asked.retain(|request| request.verb != "list");
        ensure!(asked.is_empty(), "everything is settled, and yet a fresh controller asks for {:?}", names(&asked));
        ensure!(versions(namespace).await? == before, "something has changed while nothing was written");
        let wrong = invariants::violations(&self.see(namespace, &lasting).await?);
        ensure!(wrong.is_empty(), "with a fresh controller, {wrong:#?}");
        fresh.kill()
    }

    /// Checks that no request was repeated too often since a position in the audit log.
    pub(super) fn asked_within_reason(&self, namespace: &TestNamespace, start: u64) -> Result<()> {
        let mut counts = BTreeMap::<(String, String), usize>::new();
        for request in audit::since(&self.stack.cluster, start)? {
            if request.user == controller().name && request.namespace == namespace.name && !request.is_of_the_idle() {
                *counts.entry((request.what(), request.name)).or_default() += 1;
            }
        }
        counts.retain(|_, count| *count > MOST);
        ensure!(counts.is_empty(), "the controller has asked for the same too often: {counts:#?}");
        Ok(())
    }

    async fn wait_until_settled(&self, namespace: &TestNamespace, lasting: &BTreeSet<String>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wrong = match self.see(namespace, lasting).await {
                Ok(seen) => invariants::violations(&seen),
                Err(error) => vec![format!("{error:#}")],
            };
            let (silence, last) = self.proxy.silence();
            if wrong.is_empty() && silence > QUIET {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not settled after {PATIENCE:?}: {wrong:#?}; the last request was {last}, {silence:?} ago");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn asked_in_silence(&self, length: Length) -> Result<Vec<audit::Request>> {
        let start = audit::end(&self.stack.cluster)?;
        sleep(length.silence()).await;
        self.asked_since(start)
    }

    /// The controller's requests, except those that an idle controller makes as well.
    fn asked_since(&self, start: u64) -> Result<Vec<audit::Request>> {
        let mut asked = audit::since(&self.stack.cluster, start)?;
        asked.retain(|request| request.user == controller().name && !request.is_of_the_idle());
        Ok(asked)
    }

    async fn see(&self, namespace: &TestNamespace, lasting: &BTreeSet<String>) -> Result<Seen> {
        Ok(Seen {
            // In this order, a new pod's session is seen too.
            pods: namespace.pods.list(&ListParams::default().labels(MANAGED_BY_SELECTOR)).await?.items,
            sessions: namespace.sessions.list(&ListParams::default()).await?.items,
            templates: Api::all(self.stack.cluster.admin()).list(&ListParams::default()).await?.items,
            now: Timestamp::now(),
            lasting: lasting.clone(),
        })
    }

    /// Waits until the API server answers again.
    pub async fn wait_until_up(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let sessions: Api<VDISession> = Api::all(self.stack.cluster.admin());
        while let Err(error) = sessions.list(&ListParams::default().limit(1)).await {
            ensure!(Instant::now() < deadline, "the API server does not come back: {error}");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Removes everything before the next scenario. No controller is running.
    pub(super) async fn clear(&self, namespace: &TestNamespace) -> Result<()> {
        self.wait_until_up().await?;
        let now = DeleteParams::default().grace_period(0);
        for session in namespace.sessions.list(&ListParams::default()).await? {
            let _ = namespace.sessions.delete(&session.name_any(), &DeleteParams::default()).await;
        }
        for pod in namespace.pods.list(&ListParams::default().labels(MANAGED_BY_SELECTOR)).await? {
            let _ = namespace.pods.delete(&pod.name_any(), &now).await;
        }
        for session in namespace.sessions.list(&ListParams::default()).await? {
            wait_gone(&namespace.sessions, &session.name_any()).await?;
        }
        Ok(())
    }
}

fn names(requests: &[audit::Request]) -> Vec<String> {
    requests.iter().map(audit::Request::what).collect()
}

/// The resource version of each session.
async fn versions(namespace: &TestNamespace) -> Result<Vec<(String, Option<String>)>> {
    let list = namespace.sessions.list(&ListParams::default()).await?;
    Ok(list.iter().map(|session| (session.name_any(), session.resource_version())).collect())
}
