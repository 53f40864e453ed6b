//! The programs of a cluster: from `KUBEBUILDER_ASSETS`, else from a per-user cache, else built once from pinned Go modules.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::{Error, IoContext};
use crate::guard::log_tail;
use crate::progress;

/// A program of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Containerd,
    ContainerdShim,
    CoreDns,
    /// containerd's client.
    Ctr,
    /// Offers GPUs that aren't there, see go/kubernetes/device-plugin.
    DevicePlugin,
    /// The same for resource claims, which is Kubernetes' own driver for tests.
    DraDriver,
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    KubeProxy,
    KubeScheduler,
    Kubectl,
    Kubelet,
    KubeRouter,
    Kwok,
}

/// A directory with a go.mod. The programs don't share one because their dependencies conflict.
struct Module {
    name: &'static str,
    /// The path of the module whose version its programs have.
    upstream: &'static str,
    directory: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
}

macro_rules! module {
    ($name:literal, $upstream:literal) => {
        Module {
            name: $name,
            upstream: $upstream,
            directory: concat!(env!("CARGO_MANIFEST_DIR"), "/go/", $name),
            go_mod: include_str!(concat!("../go/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../go/", $name, "/go.sum")),
        }
    };
}

static CONTAINERD: Module = module!("containerd", "github.com/containerd/containerd/v2");
static COREDNS: Module = module!("coredns", "github.com/coredns/coredns");
static ETCD: Module = module!("etcd", "go.etcd.io/etcd/server/v3");
static KUBE_ROUTER: Module = module!("kube-router", "github.com/cloudnativelabs/kube-router/v2");
static KUBERNETES: Module = module!("kubernetes", "k8s.io/kubernetes");
static KWOK: Module = module!("kwok", "sigs.k8s.io/kwok");

/// The versions of Kubernetes' libraries, which `version --output` and the API server's `/version` report, are zero
/// unless the linker sets them: https://github.com/kubernetes/kubernetes/blob/master/hack/lib/version.sh
const VERSION_VARIABLES: [&str; 2] = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];

impl Program {
    pub const ALL: [Self; 15] = [
        Self::Containerd,
        Self::ContainerdShim,
        Self::CoreDns,
        Self::Ctr,
        Self::DevicePlugin,
        Self::DraDriver,
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeProxy,
        Self::KubeScheduler,
        Self::Kubectl,
        Self::Kubelet,
        Self::KubeRouter,
        Self::Kwok,
    ];

    /// The path of this program, built first when it is neither in `KUBEBUILDER_ASSETS` nor in the cache
    /// (`$XDG_CACHE_HOME/vdiwarden/bin`).
    pub async fn ensure(self) -> Result<PathBuf, Error> {
        if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS") {
            let path = Path::new(&assets).join(self.name());
            if path.is_file() {
                return Ok(path);
            }
        }
        let directory = cache_directory()?.join("bin").join(self.key());
        let path = directory.join(self.name());
        if path.is_file() {
            return Ok(path);
        }
        std::fs::create_dir_all(&directory).context("creating", &directory)?;
        let lock = lock(directory.join("lock")).await?;
        // Another process may have built it while this one waited for the lock.
        if !path.is_file() {
            let title = format!("Building {} {} (first time only, {})", self.name(), self.version(), self.build_time());
            progress::long_step(&title, self.build(&directory)).await?;
        }
        drop(lock);
        Ok(path)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::ContainerdShim => "containerd-shim-runc-v2",
            Self::CoreDns => "coredns",
            Self::Ctr => "ctr",
            Self::DevicePlugin => "device-plugin",
            Self::DraDriver => "test-driver",
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeProxy => "kube-proxy",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Kubelet => "kubelet",
            Self::KubeRouter => "kube-router",
            Self::Kwok => "kwok",
        }
    }

    /// Its main package, as an import path or below the module's directory.
    fn package(self) -> String {
        match self {
            Self::CoreDns => ".".into(),
            Self::DevicePlugin => "./device-plugin".into(),
            Self::DraDriver => format!("{}/test/e2e/dra/test-driver", self.module().upstream),
            Self::Etcd => self.module().upstream.into(),
            _ => format!("{}/cmd/{}", self.module().upstream, self.name()),
        }
    }

    /// The source of its main package, where that is ours.
    fn own_source(self) -> Option<&'static str> {
        match self {
            Self::CoreDns => Some(include_str!("../go/coredns/main.go")),
            Self::DevicePlugin => Some(include_str!("../go/kubernetes/device-plugin/main.go")),
            _ => None,
        }
    }

    fn module(self) -> &'static Module {
        match self {
            Self::Containerd | Self::ContainerdShim | Self::Ctr => &CONTAINERD,
            Self::CoreDns => &COREDNS,
            Self::Etcd => &ETCD,
            Self::KubeRouter => &KUBE_ROUTER,
            Self::Kwok => &KWOK,
            _ => &KUBERNETES,
        }
    }

    /// How long a build takes on two cores.
    fn build_time(self) -> &'static str {
        match self {
            Self::KubeApiserver => "about 4 minutes",
            Self::Containerd | Self::CoreDns | Self::KubeRouter | Self::Kwok => "about 75 seconds",
            _ => "under a minute",
        }
    }

    /// The version that go.mod requires, such as `v1.35.4`.
    fn version(self) -> &'static str {
        let module = self.module();
        let required = |line: &'static str| {
            let mut words = line.trim().trim_start_matches("require ").split(' ');
            let (path, version) = (words.next()?, words.next()?);
            (path == module.upstream && version.starts_with('v')).then_some(version)
        };
        module.go_mod.lines().find_map(required).unwrap_or_default()
    }

    fn linker_flags(self) -> String {
        let mut flags = String::from("-s -w");
        if self.module().name != KUBERNETES.name {
            return flags;
        }
        let version = self.version();
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        for package in VERSION_VARIABLES {
            for (variable, value) in [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)] {
                flags += &format!(" -X {package}.{variable}={value}");
            }
        }
        flags
    }

    /// The name of the cache directory for builds from these sources with these flags.
    fn key(self) -> String {
        let module = self.module();
        let mut hasher = DefaultHasher::new();
        (module.go_mod, module.go_sum, self.linker_flags()).hash(&mut hasher);
        if let Some(source) = self.own_source() {
            source.hash(&mut hasher);
        }
        format!("{}-{}-{:016x}", module.name, self.version(), hasher.finish())
    }

    async fn build(self, directory: &Path) -> Result<(), Error> {
        let unfinished = directory.join(format!("{}.unfinished", self.name()));
        let log = directory.join(format!("{}.log", self.name()));
        let output = File::create(&log).context("creating", &log)?;
        let status = Command::new("go")
            .args(["build", "-trimpath", "-ldflags", &self.linker_flags(), "-o"])
            .arg(&unfinished)
            .arg(self.package())
            .current_dir(self.module().directory)
            .env("CGO_ENABLED", "0")
            // The build is independent of the user's flags and of a workspace around this repository.
            .env("GOFLAGS", "")
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .kill_on_drop(true)
            .status()
            .await;
        let status = match status {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::GoMissing { program: self.name() });
            }
            status => status.context("running", Path::new("go"))?,
        };
        if !status.success() {
            return Err(Error::Build { program: self.name(), tail: log_tail(&log), log });
        }
        // Renamed only when complete, so that an interrupted build is never taken for a program.
        std::fs::rename(&unfinished, directory.join(self.name())).context("renaming", &unfinished)
    }
}

/// The cache for everything that is slow to build or download, shared by all checkouts of this user.
pub fn cache_directory() -> Result<PathBuf, Error> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache"))).ok_or(Error::NoCacheDirectory)?;
    Ok(base.join("vdiwarden"))
}

/// Waits until no other process is building.
async fn lock(path: PathBuf) -> Result<File, Error> {
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(&path).context("creating", &path)?;
        file.lock().context("locking", &path)?;
        Ok(file)
    });
    locked.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_go_mod() {
        for program in Program::ALL {
            let version = program.version();
            assert!(version.starts_with('v') && version.split('.').count() == 3, "{program:?} {version:?}");
        }
    }

    #[test]
    fn kubernetes_reports_the_version_that_go_mod_requires() {
        let version = Program::Kubectl.version();
        let flags = Program::Kubectl.linker_flags();
        assert!(flags.contains(&format!("-X k8s.io/client-go/pkg/version.gitVersion={version}")), "{flags}");
        assert_eq!(Program::Etcd.linker_flags(), "-s -w");
    }
}
