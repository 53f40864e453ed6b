//! One stack for all tests of a binary: starting one takes seconds, and the tests keep to namespaces of their own.

use std::{path::PathBuf, sync::LazyLock};

use anyhow::{Result, ensure};
use tokio::{
    runtime::Runtime,
    sync::{Mutex, OnceCell},
};
use vdi_cluster::{ControlPlane, SimulatedNodes, User};

use crate::{
    process,
    stack::{self, Settings, Stack},
    target, workspace,
};

/// What all tests of a binary share, started by the first that needs it. It goes when the binary ends, as everything in a
/// cluster does.
pub struct Shared<T> {
    /// What is shared has tasks that live as long as the binary, so they can't be on the runtime of one of its tests.
    runtime: LazyLock<Runtime>,
    value: OnceCell<T>,
}

impl<T> Shared<T> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            runtime: LazyLock::new(|| Runtime::new().expect("threads can be started")),
            value: OnceCell::const_new(),
        }
    }

    pub fn with(
        &'static self,
        start: impl AsyncFnOnce() -> Result<T>,
        test: impl AsyncFnOnce(&'static T) -> Result<()>,
    ) -> Result<()> {
        self.runtime.block_on(async { test(self.value.get_or_try_init(|| start()).await?).await })
    }
}

/// Runs a test on the stack that the tests of this binary share: three simulated nodes with eight GPUs each.
pub fn with_stack(test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    static STACK: Shared<(Stack, SimulatedNodes)> = Shared::new();
    STACK.with(start, async |(stack, _)| test(stack).await)
}

async fn start() -> Result<(Stack, SimulatedNodes)> {
    let stack = Stack::start(&directory(), Settings::default()).await?;
    let nodes = SimulatedNodes::start(&stack.cluster, 3, 8).await?;
    Ok((stack, nodes))
}

/// Runs a test on a stack that the tests of this binary share, and whose controllers each test starts itself: one test at
/// a time, since they all work on the same sessions. There are three simulated nodes with 32 GPUs each.
pub fn with_stack_alone(test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    static STACK: Shared<(Stack, SimulatedNodes)> = Shared::new();
    static ONE: Mutex<()> = Mutex::const_new(());
    STACK.with(start_alone, async |(stack, _)| {
        let _one = ONE.lock().await;
        test(stack).await
    })
}

async fn start_alone() -> Result<(Stack, SimulatedNodes)> {
    process::blocking(stack::build).await?;
    let stack = Stack::without_controller(&directory(), Settings::default()).await?;
    let nodes = SimulatedNodes::start(&stack.cluster, 3, 32).await?;
    Ok((stack, nodes))
}

/// `target/clusters/<test binary>`
pub fn directory() -> PathBuf {
    let binary = std::env::current_exe().ok().and_then(|path| path.file_stem()?.to_str().map(str::to_owned));
    // Without the hash that cargo puts behind it.
    let name = binary.as_deref().and_then(|name| Some(name.rsplit_once('-')?.0)).unwrap_or("test");
    target().join("clusters").join(name)
}

/// Runs a test on an API server that has the CRDs of deploy/crds, and nothing else of ours.
pub fn with_crds(test: impl AsyncFnOnce(&'static ControlPlane) -> Result<()>) -> Result<()> {
    static CLUSTER: Shared<ControlPlane> = Shared::new();
    CLUSTER.with(start_with_crds, test)
}

async fn start_with_crds() -> Result<ControlPlane> {
    let cluster = ControlPlane::start(directory(), &[]).await?;
    let crds = workspace().join("deploy/crds").display().to_string();
    for arguments in [&["apply", "-f", &crds][..], &["wait", "--for=condition=Established", "--all", "crd"]] {
        let output = cluster.kubectl(&User::admin(), arguments)?.output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(cluster)
}
