//! The whole product on a local cluster, for the demo and the end-to-end tests.

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Output},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::{Value, json};
use vdi_api::VDISession;
use vdi_cluster::{ControlPlane, Launch, Server, User};
use vdi_release::command;

use crate::{
    installation, objects,
    policy::{ClusterCapabilities, PolicyHost},
    process,
    replica::Replica,
    step, target, wait,
    webhook::Webhook,
    workspace,
};

/// The namespace for desktops in deploy/samples.
pub const DESKTOPS: &str = "desktops";

/// A control plane with the CRDs and the RBAC of deploy/install.yaml, the policy and the controller. It has no nodes yet.
///
/// Dropping it stops everything, and so does the death of this process.
pub struct Stack {
    // Dropped in this order: the API server goes last.
    controller: Option<Replica>,
    webhook: Option<Webhook>,
    pub cluster: ControlPlane,
    settings: Settings,
}

/// What differs between the demo and the tests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The policy's settings.
    pub policy: Value,
    /// Whether the API server calls the policy.
    pub webhook: bool,
    /// Whether the floor is installed.
    pub floor: bool,
    /// The controller's flags, besides where it listens.
    pub controller: Vec<String>,
    /// A command prefix for the controller, such as `env`.
    pub runner: Vec<OsString>,
}

/// How to start a controller.
pub struct ControllerLaunch {
    /// Its log is `<name>.log`.
    pub name: &'static str,
    /// The program, after an optional prefix such as `env`.
    pub command: Vec<OsString>,
    /// The flags, besides where it listens.
    pub flags: Vec<String>,
    pub kubeconfig: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self { policy: json!({}), webhook: true, floor: true, controller: Vec::new(), runner: Vec::new() }
    }
}

pub fn alice() -> User {
    User::new("alice@example.com", ["vdi-users"])
}

pub fn bob() -> User {
    User::new("bob@example.com", ["vdi-users"])
}

/// Creates sessions for others, if a test allows it.
pub fn carol() -> User {
    User::new("carol@example.com", ["vdi-delegates"])
}

/// An attacker with the rights of any user.
pub fn mallory() -> User {
    User::new("mallory@example.com", ["vdi-users"])
}

/// A pod's service account in the users' namespace.
pub fn robot() -> User {
    User::service_account(DESKTOPS, "robot")
}

/// The policy server, with the rights of deploy/kubewarden/rbac.yaml.
fn policy_server() -> User {
    User::service_account("kubewarden", "policy-server")
}

/// The controller, with the rights that the chart gives it and no others.
pub fn controller() -> User {
    User::service_account(installation::NAMESPACE, "vdi-controller")
}

/// The gateway, likewise.
pub fn gateway() -> User {
    User::service_account(installation::NAMESPACE, "vdi-gateway")
}

impl Stack {
    /// Starts it with its state in `directory`, whose `logs/` remains.
    pub async fn start(directory: &Path, settings: Settings) -> Result<Self> {
        step("Building the controller and the gateway", process::blocking(build)).await?;
        let mut stack = Self::without_controller(directory, settings).await?;
        stack.start_controller().await?;
        Ok(stack)
    }

    /// The same without a controller: none is built or started.
    pub async fn without_controller(directory: &Path, settings: Settings) -> Result<Self> {
        let stack = Self::empty(directory, settings).await?;
        step("Installing the CRDs, the RBAC and the policy's webhook", stack.install()).await?;
        Ok(stack)
    }

    /// A cluster without the product, and the policy beside it, which the API server doesn't call yet.
    pub async fn empty(directory: &Path, settings: Settings) -> Result<Self> {
        let module = match settings.webhook {
            true => Some(step("Building the admission policy", process::blocking(vdi_release::policy::build)).await?),
            false => None,
        };
        let users = [alice(), bob(), carol(), mallory(), robot(), controller(), gateway(), policy_server()];
        let cluster = ControlPlane::start(directory, &users).await?;
        let mut webhook = None;
        if let Some(module) = module {
            let host = step("Loading the admission policy", process::blocking(|| PolicyHost::load(module))).await?;
            let capabilities = Arc::new(ClusterCapabilities::new(cluster.client(&policy_server()).await?));
            webhook = Some(Webhook::start(Arc::new(host), settings.policy.clone(), capabilities).await?);
        }
        Ok(Self { controller: None, webhook, cluster, settings })
    }

    async fn install(&self) -> Result<()> {
        let deploy = workspace().join("deploy");
        let directory = tempfile::tempdir()?;
        let foundation = directory.path().join("foundation.yaml");
        std::fs::write(&foundation, installation::manifest(&installation::foundation(self.settings.floor)?))?;
        let files = [foundation, deploy.join("kubewarden/rbac.yaml"), deploy.join("samples/desktops.yaml")];
        let files = files.iter().flat_map(|path| [OsStr::new("-f"), path.as_os_str()]);
        self.kubectl_ok(&User::admin(), [OsStr::new("apply")].into_iter().chain(files)).await?;
        let crds = ["vdisessions", "vditemplates"].map(|plural| format!("crd/{plural}.vdi.kasm.io"));
        self.kubectl_ok(&User::admin(), ["wait", "--for=condition=Established", &crds[0], &crds[1]]).await?;

        if self.settings.floor {
            self.wait_for_floor().await?;
        }
        self.call_policy().await
    }

    /// Has the API server call the policy, if there is one. The namespace for desktops and the CRDs must exist.
    pub async fn call_policy(&self) -> Result<()> {
        let Some(webhook) = &self.webhook else { return Ok(()) };
        let configuration: MutatingWebhookConfiguration = serde_json::from_value(webhook.configuration("vdiwarden"))?;
        Api::all(self.cluster.admin()).create(&PostParams::default(), &configuration).await?;
        self.wait_for_webhook().await
    }

    /// The API server applies new policies with a short delay and in order, those about sessions last.
    async fn wait_for_floor(&self) -> Result<()> {
        let sessions: Api<VDISession> = Api::namespaced(self.cluster.admin(), installation::NAMESPACE);
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let session = objects::session("nobodys", "none");
        let refused =
            async || Ok(is_refused_by("ValidatingAdmissionPolicy", sessions.create(&dry_run, &session).await));
        wait::until("the API server applies the floor", refused).await
    }

    /// The API server calls a new webhook with a short delay. After that, nothing bypasses it.
    async fn wait_for_webhook(&self) -> Result<()> {
        let sessions: Api<DynamicObject> =
            Api::namespaced_with(self.cluster.admin(), DESKTOPS, &kube::api::ApiResource::erase::<VDISession>(&()));
        let nobodys = DynamicObject::new("nobodys", &kube::api::ApiResource::erase::<VDISession>(&()))
            .data(json!({ "spec": { "user": "nobody", "template": "none" } }));
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let refused = async || Ok(is_refused_by("admission webhook", sessions.create(&dry_run, &nobodys).await));
        wait::until("the API server calls the policy's webhook", refused).await
    }

    /// Starts the controller as in a cluster: with its own credentials and rights only.
    pub async fn start_controller(&mut self) -> Result<()> {
        self.controller = Some(self.launch(self.controller_launch()?)?);
        Ok(())
    }

    /// Starts another controller with only these flags. Its log is `<name>.log`.
    pub fn start_replica(&self, name: &'static str, flags: &[String]) -> Result<Replica> {
        self.launch(ControllerLaunch { name, flags: flags.to_vec(), ..self.controller_launch()? })
    }

    /// How the controller is started, to be changed before [`Stack::launch`].
    pub fn controller_launch(&self) -> Result<ControllerLaunch> {
        let mut command = self.settings.runner.clone();
        command.push(program("vdi-controller").into());
        Ok(ControllerLaunch {
            name: "vdi-controller",
            command,
            flags: self.settings.controller.clone(),
            kubeconfig: self.cluster.kubeconfig(&controller())?,
        })
    }

    /// Starts a controller that the caller owns.
    pub fn launch(&self, controller: ControllerLaunch) -> Result<Replica> {
        let ControllerLaunch { name, command, flags, kubeconfig } = controller;
        let (program, wrapped) = command.split_first().context("no program")?;
        let mut arguments = wrapped.to_vec();
        arguments.extend(["--listen".into(), "127.0.0.1:0".into()]);
        arguments.extend(flags.into_iter().map(Into::into));
        let mut environment = vec![
            ("KUBECONFIG", kubeconfig.into()),
            // For the pods of real nodes, and those of simulated nodes, which have loopback addresses.
            ("VDI_POD_CIDR", "10.86.0.0/16,127.64.0.0/16".into()),
        ];
        environment.extend(login_keys(&arguments));
        let launch = Launch { arguments, environment, ..Launch::new(name, Path::new(program)) };
        let server = Server::start(&self.cluster.logs(), launch)?;
        Ok(Replica::new(server, self.cluster.logs().join(name).with_extension("log"), "listen"))
    }

    /// Ends the controller with SIGKILL, like a crash.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller.take().context("the controller is stopped")?.kill()
    }

    /// Ends the controller with SIGTERM, like a rollout. Returns its exit status.
    pub fn stop_controller(&mut self) -> Result<ExitStatus> {
        self.controller.take().context("the controller is stopped")?.stop()
    }

    /// The address of the controller's /healthz, /readyz and /metrics.
    pub async fn controller_address(&mut self) -> Result<SocketAddr> {
        self.controller.as_mut().context("the controller is stopped")?.address().await
    }

    /// Whether the API server calls the policy.
    pub fn has_webhook(&self) -> bool {
        self.webhook.is_some()
    }

    pub fn has_floor(&self) -> bool {
        self.settings.floor
    }

    /// Stops the admission policy, like a crash of its server. Its registration remains.
    pub fn stop_webhook(&mut self) {
        self.webhook = None;
    }

    /// Runs kubectl as a user.
    pub async fn kubectl<A: AsRef<OsStr>>(
        &self,
        user: &User,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        self.cluster.kubectl(user, arguments)?.output().await.context("kubectl can't be run")
    }

    /// Runs kubectl as a user, and returns its output. If it fails, the error has its message.
    pub async fn kubectl_ok<A: AsRef<OsStr>>(
        &self,
        user: &User,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let output = self.kubectl(user, arguments).await?;
        ensure!(output.status.success(), "kubectl, as {}: {}", user.name, String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The variable for the login keys: the Secret that the programs create themselves, unless a flag names a file.
pub(crate) fn login_keys(flags: &[OsString]) -> Option<(&'static str, OsString)> {
    let is_file = flags.iter().any(|flag| flag == "--login-keys-file");
    (!is_file).then(|| ("VDI_LOGIN_KEYS_SECRET", "vdi-login-keys".into()))
}

fn is_refused_by<T>(who: &str, answer: kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.message.contains(who))
}

/// The path of one of the product's programs, once it is built.
pub fn program(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// Builds the controller and the gateway, unless they are up to date.
pub fn build() -> Result<()> {
    // With the features of the whole workspace, which share dependencies with the running program.
    command::cargo(["build", "--workspace", "--bin=vdi-controller", "--bin=vdi-gateway", "--bin=kubectl-vdi"])
}
