//! A control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::ErrorKind::AddrInUse;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{GetParams, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::binaries::Program;
use crate::certificates::Authority;
use crate::credentials::Credentials;
use crate::error::{Error, IoContext, KubeContext};
use crate::files::{Files, create_private_dir, write_private};
use crate::guard::Server;
use crate::servers::Programs;
use crate::storage::Storage;
use crate::users::User;
use crate::wait::until_ready;
use crate::{kubeconfig, progress, secrets};

/// A server that takes longer than this to start is stuck, even on a busy machine.
const START_SECONDS: u64 = 60;

/// A running control plane without nodes. Dropping it stops the servers and deletes everything but the logs; this also
/// happens when the process that owns it is killed.
pub struct ControlPlane {
    // They stop in this order, so that none loses the server that it uses.
    _storage: Storage,
    scheduler: Server,
    controller_manager: Server,
    apiserver: Server,
    etcd: Server,
    files: Files,
    address: SocketAddr,
    url: String,
    authority: Authority,
    credentials: Credentials,
    kubectl: PathBuf,
    admin: Client,
}

impl ControlPlane {
    /// Starts a control plane that keeps its state in `directory` and knows `users` and [`User::admin`], and waits
    /// until pods can be created. The programs are built first where they are missing (see [`Program::ensure`]).
    ///
    /// `directory` belongs to one running cluster at a time, and is created if missing. Logs are in `logs/`, and stay.
    ///
    /// # Errors
    /// When a program can't be built, when `directory` is in use, or when a server doesn't start; the message names the
    /// log.
    pub async fn start(directory: impl AsRef<Path>, users: &[User]) -> Result<Self, Error> {
        let programs = Programs {
            etcd: Program::Etcd.ensure().await?,
            apiserver: Program::KubeApiserver.ensure().await?,
            controller_manager: Program::KubeControllerManager.ensure().await?,
            scheduler: Program::KubeScheduler.ensure().await?,
        };
        let kubectl = Program::Kubectl.ensure().await?;
        let directory = std::path::absolute(&directory).context("resolving", directory.as_ref())?;
        let files = Files { directory };
        progress::step("Starting the control plane", async {
            // A port can't be reserved for a server that is yet to start, so it can be taken in between. That is rare.
            let mut attempts = 3;
            loop {
                attempts -= 1;
                match Self::try_start(&files, &programs, &kubectl, users).await {
                    Err(error) if attempts > 0 && error.is_address_in_use() => {}
                    result => return result,
                }
            }
        })
        .await
    }

    async fn try_start(files: &Files, programs: &Programs, kubectl: &Path, users: &[User]) -> Result<Self, Error> {
        create_private_dir(&files.logs())?;
        let lock = lock(&files.directory).await?;
        create_private_dir(&files.data())?;

        let authority = Authority::new()?;
        let components = User::components();
        let credentials = Credentials::new(components.iter().chain(users))?;
        secrets::write(files, &authority, &credentials)?;
        let (etcd_port, port) = (free_port()?, free_port()?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let url = format!("https://{address}");
        let kubeconfig = |user: &User| write_kubeconfig(files, &url, &credentials, user);

        let mut etcd = programs.start_etcd(files, etcd_port, &lock)?;
        let mut apiserver = programs.start_apiserver(files, port, etcd_port)?;
        let admin = connect(&kubeconfig(&User::admin())?).await?;
        until_ready(&mut apiserver, &mut [&mut etcd], START_SECONDS, async || {
            let request = Request::new("").get("readyz", &GetParams::default()).map_err(|error| error.to_string())?;
            admin.request_text(request).await.map_err(|error| error.to_string())
        })
        .await?;

        let mut controller_manager =
            programs.start_controller_manager(files, &kubeconfig(&User::controller_manager())?)?;
        let mut scheduler = programs.start_scheduler(files, &kubeconfig(&User::scheduler())?)?;
        let service_accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), "default");
        until_ready(&mut controller_manager, &mut [&mut scheduler], START_SECONDS, async || {
            service_accounts.get("default").await.map_err(|error| error.to_string())
        })
        .await?;

        Ok(Self {
            _storage: Storage::start(admin.clone(), files.volumes()).await?,
            scheduler,
            controller_manager,
            apiserver,
            etcd,
            files: files.clone(),
            address,
            url,
            authority,
            credentials,
            kubectl: kubectl.to_owned(),
            admin,
        })
    }

    /// The API server's address, such as `https://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its servers: etcd, kube-apiserver, kube-controller-manager and kube-scheduler. A server that is crashed on purpose
    /// comes back with its data, on its port.
    pub fn servers(&self) -> [&Server; 4] {
        [&self.etcd, &self.apiserver, &self.controller_manager, &self.scheduler]
    }

    /// The path of the cluster's CA certificate, as PEM.
    pub fn certificate_authority(&self) -> PathBuf {
        self.files.authority()
    }

    /// Issues a certificate for a server with these names, and returns the paths of the certificate and its key. They are
    /// deleted together with the cluster.
    pub fn certificate(&self, server: &str, names: &[&str]) -> Result<(PathBuf, PathBuf), Error> {
        let identity = self.authority.server(names)?;
        let path = |extension| self.files.data().join(server).with_added_extension(extension);
        write_private(&path("crt"), &identity.certificate)?;
        write_private(&path("key"), &identity.key)?;
        Ok((path("crt"), path("key")))
    }

    /// The API server's audit log: one JSON object a line, an `audit.k8s.io/v1` Event with level Metadata, for each
    /// request, written before the answer is sent.
    pub fn audit_log(&self) -> PathBuf {
        self.files.audit_log()
    }

    /// The directory with each server's log, `<server>.log`.
    pub fn logs(&self) -> PathBuf {
        self.files.logs()
    }

    /// The bearer token of a user.
    pub fn token(&self, user: &User) -> Result<&str, Error> {
        self.credentials.token(user)
    }

    /// Writes a kubeconfig for this user, readable only by the owner of this process, and returns its path. It is deleted
    /// together with the cluster.
    pub fn kubeconfig(&self, user: &User) -> Result<PathBuf, Error> {
        write_kubeconfig(&self.files, &self.url, &self.credentials, user)
    }

    /// A client of this user.
    pub async fn client(&self, user: &User) -> Result<Client, Error> {
        connect(&self.kubeconfig(user)?).await
    }

    /// A client of [`User::admin`].
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// The path of a kubectl of this cluster's version.
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// A `kubectl` command that runs as this user.
    pub fn kubectl<A: AsRef<OsStr>>(
        &self,
        user: &User,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Command, Error> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig(user)?);
        command.arg("--cache-dir").arg(self.files.data().join("kubectl")).args(arguments);
        Ok(command)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// Without the tokens and keys.
impl fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_struct("ControlPlane").field("url", &self.url).finish_non_exhaustive()
    }
}

fn write_kubeconfig(files: &Files, url: &str, credentials: &Credentials, user: &User) -> Result<PathBuf, Error> {
    let path = files.kubeconfig(&user.name);
    kubeconfig::write(&path, url, &files.authority(), json!({"token": credentials.token(user)?}))?;
    Ok(path)
}

async fn connect(kubeconfig: &Path) -> Result<Client, Error> {
    let read = |source| Error::Kubeconfig { path: kubeconfig.to_owned(), source: Box::new(source) };
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(read)?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.map_err(read)?;
    Client::try_from(config).context("preparing a client")
}

/// A free port for a server that is yet to start. Ports can't be reserved, but this one is outside the range that the kernel uses
/// for outgoing connections, and is never returned twice in this process.
pub fn free_port() -> Result<u16, Error> {
    // Browsers block some ports below 11000.
    const FIRST: u16 = 20_000;
    const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string(RANGE).context("reading", Path::new(RANGE))?;
    let end = range.split_whitespace().next().and_then(|end| end.parse().ok()).unwrap_or(FIRST).max(FIRST + 1);
    // Each process starts at a different port.
    let start = (std::process::id() % 256) as u16 * 47;
    (0..end - FIRST)
        .map(|_| FIRST + start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % (end - FIRST))
        .find(|port| {
            let is_taken =
                |address| matches!(TcpListener::bind((address, *port)), Err(error) if error.kind() == AddrInUse);
            !["127.0.0.1", "::1"].into_iter().any(is_taken)
        })
        .ok_or(Error::Unsupported("no port between 20000 and the range for outgoing connections is free"))
}

/// Takes the lock on a cluster's directory, which an earlier cluster holds until its data is deleted.
async fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let file = File::create(&path).context("creating", &path)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            Err(TryLockError::WouldBlock) => return Err(Error::DirectoryInUse { directory: directory.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(error).context("locking", &path),
        }
    }
}
