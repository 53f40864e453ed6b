//! A stack that all tests of a binary share. Starting one takes seconds, and each test uses its own namespaces.

use std::{path::PathBuf, sync::LazyLock};

use anyhow::{Result, ensure};
use tokio::{
    runtime::Runtime,
    sync::{Mutex, OnceCell},
};
use vdi_cluster::{ControlPlane, SimulatedNodes, User};

use crate::{
    helm, process,
    stack::{self, Settings, Stack},
    target,
};

/// A value that all tests of a binary share, created by the first that needs it. A cluster in it ends with the binary.
pub struct Shared<T> {
    /// Its tasks outlive the test that starts them, so they can't run on that test's runtime.
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

/// Runs a test on the shared stack of this binary, with three simulated nodes of eight GPUs each.
pub fn with_stack(test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    static STACK: Shared<(Stack, SimulatedNodes)> = Shared::new();
    STACK.with(start, async |(stack, _)| test(stack).await)
}

async fn start() -> Result<(Stack, SimulatedNodes)> {
    let stack = Stack::start(&directory(), Settings::default()).await?;
    let nodes = SimulatedNodes::start(&stack.cluster, 3, 8).await?;
    Ok((stack, nodes))
}

/// Runs a test on a shared stack without controllers, which each test starts itself. Only one test runs at a time, because all
/// controllers see the same sessions. There are three simulated nodes of 32 GPUs each.
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
    // Without the hash that cargo appends.
    let name = binary.as_deref().and_then(|name| Some(name.rsplit_once('-')?.0)).unwrap_or("test");
    target().join("clusters").join(name)
}

/// Runs a test on an API server with the CRDs, and nothing else of the product.
pub fn with_crds(test: impl AsyncFnOnce(&'static ControlPlane) -> Result<()>) -> Result<()> {
    static CLUSTER: Shared<ControlPlane> = Shared::new();
    CLUSTER.with(start_with_crds, test)
}

async fn start_with_crds() -> Result<ControlPlane> {
    let cluster = ControlPlane::start(directory(), &[]).await?;
    let crds = helm::crds().display().to_string();
    for arguments in [&["apply", "-f", &crds][..], &["wait", "--for=condition=Established", "--all", "crd"]] {
        let output = cluster.kubectl(&User::admin(), arguments)?.output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(cluster)
}
