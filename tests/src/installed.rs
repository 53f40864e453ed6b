//! The product as its users install it: with Helm, from a registry, in a cluster whose node runs all of it in pods.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use serde_json::{Value, json};
use tokio::process::Command;
use vdi_cluster::{LoadBalancer, RealNode, RealNodeOptions, User};
use vdi_release::{
    image::{self, Image},
    publish::package_chart,
};

use crate::{
    entrance::Entrance,
    gateway::DOMAIN,
    helm::{self, Helm},
    images, installation,
    oidc::{self, OidcProvider},
    registry::Registry,
    setup,
    stack::{Settings, Stack},
    step, workspace,
};

/// A cluster with one real node and the product in it. Dropping it stops everything.
pub struct Installed {
    /// The gateways, behind their load balancer.
    pub entrance: Entrance,
    /// Where people sign in, if they can.
    pub provider: Option<OidcProvider>,
    /// What `helm install` printed.
    pub notes: String,
    values: Value,
    helm: Helm,
    // Dropped in this order: the API server goes last.
    _load_balancer: LoadBalancer,
    node: RealNode,
    registry: Registry,
    pub stack: Stack,
}

/// How much of it to start.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The port of the public address, on loopback.
    pub port: u16,
    pub gpus: u32,
    /// Whether people can sign in at an OpenID provider.
    pub sign_in: bool,
}

impl Installed {
    /// Builds the images and the chart, pushes them to a registry, and installs them from there, with the state in `directory`.
    ///
    /// The admission policy runs beside the cluster, as Kubewarden's controller can't be had here.
    pub async fn start(directory: &Path, options: Options) -> Result<Self> {
        let programs = images::for_this_machine().await?;
        let desktop = Image::open("desktop", setup::desktop_image().await?)?;
        let helm = Helm::new(4).await?;
        setup::registry().await?;
        let stack = Stack::empty(directory, Settings::default()).await?;
        let registry = Registry::start(None).await?;
        let images: Vec<_> = programs.into_iter().chain([desktop]).collect();
        step("Pushing the images and the chart to a registry", push(&registry, &images)).await?;
        let node =
            RealNode::start(&stack.cluster, RealNodeOptions { gpus: options.gpus, ..Default::default() }).await?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let (namespace, name) = (installation::NAMESPACE, "vdi-gateway");
        let load_balancer = LoadBalancer::start(&stack.cluster, &node, namespace, name, options.port, address).await?;
        let mut installed = Self {
            entrance: Entrance::new(address, options.port),
            provider: None,
            notes: String::new(),
            values: values(options.port, &registry, node.name()),
            helm,
            _load_balancer: load_balancer,
            node,
            registry,
            stack,
        };
        installed.prepare().await?;
        if options.sign_in {
            installed.add_provider().await?;
        }
        installed.notes = step("Installing the chart, and waiting for its pods", installed.install()).await?;
        installed.apply_samples(&images).await?;
        installed.stack.call_policy().await?;
        Ok(installed)
    }

    /// What has to be there besides the chart: the namespace and the certificate.
    async fn prepare(&self) -> Result<()> {
        let (certificate, key) = self.stack.cluster.certificate("gateway", &[DOMAIN, &format!("*.{DOMAIN}")])?;
        self.kubectl(&["create", "namespace", installation::NAMESPACE]).await?;
        let (certificate, key) = (format!("--cert={}", certificate.display()), format!("--key={}", key.display()));
        self.create("secret", &["tls", "vdi-gateway-tls", &certificate, &key]).await
    }

    /// Starts an OpenID provider, and has the gateways send people there from the next [`Installed::upgrade`] on.
    pub async fn add_provider(&mut self) -> Result<()> {
        let address = self.machine().await?;
        let public_url = format!("https://{}", self.entrance.authority(DOMAIN));
        let start = OidcProvider::start_for_pods(&self.stack.cluster, address, &public_url);
        let provider = step("Starting an OpenID provider", start).await?;
        let secret = format!("--from-file=client-secret={}", provider.secret().display());
        self.create("secret", &["generic", "oidc-client", &secret]).await?;
        let authority = format!("--from-file=ca.crt={}", self.stack.cluster.certificate_authority().display());
        self.create("configmap", &["oidc-authority", &authority]).await?;
        self.values["oidc"] = json!({
            "issuer": provider.issuer(),
            "clientID": OidcProvider::CLIENT,
            "clientSecret": { "existingSecret": "oidc-client" },
            "ca": { "existingConfigMap": "oidc-authority" },
        });
        // The provider's name leads browsers to this machine, and pods to the machine's address on their network.
        self.values["gateway"]["hostAliases"] = json!([{ "ip": address, "hostnames": [oidc::HOST] }]);
        self.provider = Some(provider);
        Ok(())
    }

    /// The address at which pods reach this machine.
    async fn machine(&self) -> Result<Ipv4Addr> {
        let node = Api::<Node>::all(self.stack.cluster.admin()).get(self.node.name()).await?;
        let addresses = node.status.and_then(|status| status.addresses).unwrap_or_default();
        let internal =
            addresses.iter().find(|address| address.type_ == "InternalIP").context("the node has no address")?;
        Ok(internal.address.parse()?)
    }

    /// `helm upgrade`, while desktops run, with these values besides those of the installation.
    pub async fn upgrade(&self, changes: &Value) -> Result<()> {
        let changes = self.helm.values(changes)?;
        self.helm("upgrade", |helm| helm.arg("--values").arg(changes)).await.map(drop)
    }

    /// `helm rollback` to the revision before.
    pub async fn rollback(&self) -> Result<()> {
        self.run(self.helm.command().args(["rollback", "vdiwarden"])).await.map(drop)
    }

    /// `helm uninstall`
    pub async fn uninstall(&self) -> Result<()> {
        self.run(self.helm.command().args(["uninstall", "vdiwarden"])).await.map(drop)
    }

    /// `helm install`, which also the start does. Returns what it prints.
    pub async fn install(&self) -> Result<String> {
        self.helm("install", |helm| helm).await
    }

    /// `helm test` of Helm 3 or 4: whether it succeeds, and what it and its pod print.
    pub async fn test(&self, major: u8) -> Result<(bool, String)> {
        let helm = Helm::new(major).await?;
        let mut helm = helm.command();
        helm.args(["test", "vdiwarden", "--logs", "--namespace", installation::NAMESPACE, "--timeout", "2m"]);
        let output = helm.env("KUBECONFIG", self.stack.cluster.kubeconfig(&User::admin())?).output().await?;
        let printed = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&printed).into_owned()))
    }

    /// Kills the pods of the gateways. Kubernetes starts others.
    pub async fn kill_gateways(&self) -> Result<()> {
        let pods = ["delete", "pods", "--namespace", installation::NAMESPACE, "--selector"];
        let now = ["app.kubernetes.io/name=vdi-gateway", "--grace-period=0", "--force"];
        self.kubectl(&[&pods[..], &now].concat()).await
    }

    /// The name of the real node.
    pub fn node(&self) -> &str {
        self.node.name()
    }

    /// The registry's address, such as `127.0.0.1:40123`.
    pub fn registry(&self) -> &str {
        &self.registry.address
    }

    async fn helm(&self, command: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
        let chart = format!("oci://{}/charts/vdiwarden", self.registry.address);
        let mut helm = self.helm.command();
        helm.args([command, "vdiwarden", &chart, "--plain-http", "--values"]).arg(self.helm.values(&self.values)?);
        self.run(with(&mut helm)).await
    }

    /// Runs a command of helm on this cluster, and waits until its pods are ready.
    async fn run(&self, helm: &mut Command) -> Result<String> {
        helm.args(["--namespace", installation::NAMESPACE, "--wait", "--timeout", "3m"]);
        helm.env("KUBECONFIG", self.stack.cluster.kubeconfig(&User::admin())?);
        match helm::output(helm).await {
            Err(error) => Err(error.context(self.pods().await?)),
            printed => printed,
        }
    }

    /// The product's pods, as kubectl shows them.
    pub async fn pods(&self) -> Result<String> {
        self.stack.kubectl_ok(&User::admin(), ["get", "pods", "-n", installation::NAMESPACE, "-o", "wide"]).await
    }

    async fn create(&self, kind: &str, arguments: &[&str]) -> Result<()> {
        self.kubectl(&[&["create", kind], arguments, &["--namespace", installation::NAMESPACE]].concat()).await
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        self.stack.kubectl_ok(&User::admin(), arguments).await.map(drop)
    }

    /// A namespace for desktops, the policy server's rights, and the sample template with the image of this tree.
    async fn apply_samples(&self, images: &[Image]) -> Result<()> {
        let deploy = workspace().join("deploy");
        let samples = deploy.join("samples");
        let template = std::fs::read_to_string(samples.join("ubuntu-desktop.yaml"))?;
        let mut template: Value = serde_saphyr::from_str(&template).context("parsing the sample template")?;
        let desktop = images.iter().find(|image| image.name == "desktop").context("no image of the desktop")?;
        template["spec"]["image"] = format!("{}/desktop@{}", self.registry.address, desktop.digest).into();
        let file = self.helm.values(&template)?;
        for path in [samples.join("desktops.yaml"), deploy.join("kubewarden/rbac.yaml"), file] {
            self.kubectl(&["apply", "-f", &path.display().to_string()]).await?;
        }
        Ok(())
    }
}

/// The chart's values.
fn values(port: u16, registry: &Registry, node: &str) -> Value {
    // Tests add simulated nodes, where nothing runs.
    let here = json!({ "nodeSelector": { "kubernetes.io/hostname": node } });
    json!({
        "domain": DOMAIN,
        "publicPort": port,
        // Of all real nodes.
        "podCIDRs": ["10.86.0.0/16"],
        "images": { "registry": registry.address },
        "controller": here,
        "gateway": here,
    })
}

async fn push(registry: &Registry, images: &[Image]) -> Result<()> {
    for image in images {
        let reference = format!("{}/{}:{}", registry.address, image.name, env!("CARGO_PKG_VERSION"));
        image::push(image, &reference, &registry.docker_config()).await?;
    }
    let digests = images.iter().map(|image| (image.name.clone(), image.digest.clone())).collect();
    let reference = format!("{}/charts/vdiwarden:{}", registry.address, env!("CARGO_PKG_VERSION"));
    package_chart(&helm::chart(), &digests)?.push(&reference, &registry.docker_config()).await.map(drop)
}
