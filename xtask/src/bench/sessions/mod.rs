//! `cargo xtask bench sessions`: what a session costs compared with a bare pod.

mod load;
mod options;
mod report;
mod watch;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use tokio::time::sleep;
use vdi_cluster::SimulatedNodes;
use vdi_release::command;
use vdi_tests::{
    audit,
    objects::{delete, session},
    process,
    replica::Replica,
    stack::{ControllerLaunch, Settings, Stack},
    step, target,
    test_namespace::TestNamespace,
};

pub use self::options::Options;
use self::{
    load::Load,
    report::{Created, Deleted, Idle, Report},
    watch::Watch,
};
use super::{cluster::on_a_cluster, cpu};

/// The controller's flags, besides where it listens.
const CONTROLLER_FLAGS: &[&str] = &["--leader-elect=false"];

/// The namespace, and the template in it.
const BENCH: &str = "bench";
/// A simulated node has room for 250 pods.
const PODS_PER_NODE: u32 = 200;
/// How long the servers keep working after the last object is done.
const AFTERMATH: Duration = Duration::from_secs(2);

pub async fn run(options: &Options) -> Result<()> {
    on_a_cluster(async |directory| measure(options, directory).await).await
}

async fn measure(options: &Options, directory: &Path) -> Result<Report> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => step("Building the controller in release mode (about 3 minutes the first time)", release()).await?,
    };
    let flags = CONTROLLER_FLAGS.iter().map(|flag| flag.to_string()).collect();
    let settings =
        Settings { webhook: options.webhook, floor: options.floor_policies, controller: flags, ..Settings::default() };
    let stack = Stack::without_controller(directory, settings).await?;
    let nodes = options.count.div_ceil(PODS_PER_NODE) as usize;
    let nodes = SimulatedNodes::start(&stack.cluster, nodes, 250).await?;
    let namespace = TestNamespace::new(&stack, BENCH).await?;
    namespace.template(json!({})).await?;
    let bench = Bench { options, stack: &stack, nodes: &nodes, namespace: &namespace, program };

    let pod = step("Asking the controller for a sample pod", bench.sample_pod()).await?;
    let pods = bench.load("pods", Box::new(move |name| named(pod.clone(), name)));
    let mut watch = bench.watch("pods").await?;
    let baseline = bench.create("Bare pods", &pods, &mut watch, None).await?;
    let baseline_deleted = bench.delete("Bare pods", &pods, &mut [&mut watch], None).await?;

    let controller = bench.controller().await?;
    let sessions = bench.load("vdisessions", Box::new(|name| named(json!(example(name)), name)));
    let (mut watch, mut pod_watch) = (bench.watch("vdisessions").await?, bench.watch("pods").await?);
    let created = bench.create("Sessions", &sessions, &mut watch, Some(&controller)).await?;
    let idle = bench.idle(&controller).await?;
    let deleted = bench.delete("Sessions", &sessions, &mut [&mut watch, &mut pod_watch], Some(&controller)).await?;
    let peak_memory = cpu::peak_memory(controller.server())?;
    Ok(Report { options: options.clone(), baseline, baseline_deleted, sessions: created, idle, deleted, peak_memory })
}

/// What every part of the benchmark needs.
struct Bench<'a> {
    options: &'a Options,
    stack: &'a Stack,
    nodes: &'a SimulatedNodes,
    namespace: &'a TestNamespace,
    /// The controller's executable.
    program: PathBuf,
}

impl Bench<'_> {
    async fn controller(&self) -> Result<Replica> {
        let launch = self.stack.controller_launch()?;
        let command = vec![self.program.clone().into()];
        let mut controller = self.stack.launch(ControllerLaunch { command, ..launch })?;
        controller.wait_until_ready().await?;
        Ok(controller)
    }

    /// A pod as the controller creates it for a session, without what ties it to that session. The controller itself creates
    /// it, so that it stays the same as the controller changes.
    async fn sample_pod(&self) -> Result<Value> {
        let controller = self.controller().await?;
        let sample = self.namespace.sessions.create(&Default::default(), &example("sample")).await?;
        self.namespace.wait_running("sample").await?;
        let pods: Api<Pod> = self.namespace.pods.clone();
        let owned = |pod: &Pod| {
            pod.metadata.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == sample.metadata.uid.as_ref())
        };
        let list = pods.list(&ListParams::default()).await?;
        let mut pod = list.items.into_iter().find(owned).context("the session has no pod")?;
        controller.stop()?;
        // The garbage collector would delete it too, but takes up to 40 s to discover sessions.
        delete(&pods, pod.metadata.name.as_deref().context("the pod has no name")?).await?;
        delete(&self.namespace.sessions, "sample").await?;
        pod.metadata = kube::api::ObjectMeta {
            labels: pod.metadata.labels,
            annotations: pod.metadata.annotations,
            ..Default::default()
        };
        pod.spec = pod.spec.map(|spec| k8s_openapi::api::core::v1::PodSpec { node_name: None, ..spec });
        pod.status = None;
        let mut pod = serde_json::to_value(pod)?;
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        Ok(pod)
    }

    fn path(&self, plural: &str) -> String {
        let api = if plural == "pods" { "/api/v1" } else { "/apis/vdi.kasm.io/v1alpha1" };
        format!("{api}/namespaces/{BENCH}/{plural}")
    }

    fn load<'b>(&'b self, plural: &str, object: Box<dyn Fn(&str) -> Value + 'b>) -> Load<'b> {
        let Options { count, rate, .. } = *self.options;
        Load { client: &self.namespace.client, path: self.path(plural), count: count as usize, rate, object }
    }

    async fn watch(&self, plural: &str) -> Result<Watch> {
        Watch::start(self.namespace.client.clone(), &self.path(plural)).await
    }

    async fn create(
        &self,
        title: &str,
        load: &Load<'_>,
        watch: &mut Watch,
        controller: Option<&Replica>,
    ) -> Result<Created> {
        let (mark, own) = (self.mark(controller)?, cpu::of_this()?);
        let times = load.create(title, watch).await?;
        sleep(AFTERMATH).await;
        let bench_cpu = cpu::of_this()?.saturating_sub(own);
        let (cpu, requests) = self.since(mark, controller)?;
        Ok(Created::new(times, cpu, requests, bench_cpu))
    }

    async fn idle(&self, controller: &Replica) -> Result<Idle> {
        let length = Duration::from_secs(self.options.idle.into());
        let mark = self.mark(Some(controller))?;
        eprintln!("Watching idle sessions for {} s ...", length.as_secs());
        sleep(length).await;
        let (cpu, requests) = self.since(mark, Some(controller))?;
        Ok(Idle { length, cpu, requests })
    }

    async fn delete(
        &self,
        title: &str,
        load: &Load<'_>,
        watches: &mut [&mut Watch],
        controller: Option<&Replica>,
    ) -> Result<Deleted> {
        let mark = self.mark(controller)?;
        let took = load.delete(title, watches).await?;
        sleep(AFTERMATH).await;
        let (cpu, requests) = self.since(mark, controller)?;
        Ok(Deleted { took, cpu, requests })
    }

    fn mark(&self, controller: Option<&Replica>) -> Result<Mark> {
        Ok(Mark { log: audit::end(&self.stack.cluster)?, cpu: self.cpu(controller)? })
    }

    fn since(&self, mark: Mark, controller: Option<&Replica>) -> Result<(cpu::Cpu, Vec<audit::Request>)> {
        let mut cpu = self.cpu(controller)?;
        cpu.iter_mut().for_each(|(name, used)| *used = used.saturating_sub(mark.cpu[name]));
        Ok((cpu, audit::since(&self.stack.cluster, mark.log)?))
    }

    fn cpu(&self, controller: Option<&Replica>) -> Result<cpu::Cpu> {
        cpu::of(
            self.stack
                .cluster
                .servers()
                .into_iter()
                .chain([self.nodes.server()])
                .chain(controller.map(Replica::server)),
        )
    }
}

/// The start of a measurement.
struct Mark {
    log: u64,
    cpu: cpu::Cpu,
}

/// A session small enough that many fit on a node, each of a different user.
fn example(name: &str) -> vdi_api::VDISession {
    let mut session = session(name, BENCH);
    session.spec.user = format!("{name}@example.com");
    session.spec.resources.memory = "512Mi".to_owned();
    session
}

fn named(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = json!(name);
    object
}

async fn release() -> Result<PathBuf> {
    process::blocking(|| command::cargo(["build", "--release", "--package=vdi-controller"])).await?;
    Ok(target().join("release/vdi-controller"))
}
