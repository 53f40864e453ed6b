//! The flags of each server of a control plane.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files::{Files, create_private_dir};
use crate::guard::{Launch, Server};
use crate::services::SERVICES;

/// The programs of a control plane.
pub(crate) struct Programs {
    pub etcd: PathBuf,
    pub apiserver: PathBuf,
    pub controller_manager: PathBuf,
    pub scheduler: PathBuf,
}

impl Programs {
    pub fn start_etcd(&self, files: &Files, port: u16, lock: &File) -> Result<Server, Error> {
        let data = files.data().join("etcd");
        create_private_dir(&data)?;
        let url = format!("http://127.0.0.1:{port}");
        let arguments = vec![
            flag("data-dir", data),
            flag("listen-client-urls", &url),
            flag("advertise-client-urls", &url),
            // There are no peers, but etcd insists on listening for them.
            flag("listen-peer-urls", "http://127.0.0.1:0"),
            // The data need not survive a power failure.
            "--unsafe-no-fsync".into(),
            flag("log-level", "warn"),
        ];
        let launch = Launch {
            arguments,
            environment: vec![("DATA", files.data().into())],
            cleanup: r#"rm -rf "$DATA""#,
            lock: Some(lock),
            ..Launch::new("etcd", &self.etcd)
        };
        Server::start(&files.logs(), launch)
    }

    pub fn start_apiserver(&self, files: &Files, port: u16, etcd_port: u16) -> Result<Server, Error> {
        let data = files.data();
        let arguments = vec![
            flag("etcd-servers", format!("http://127.0.0.1:{etcd_port}")),
            flag("bind-address", "127.0.0.1"),
            flag("advertise-address", "127.0.0.1"),
            flag("secure-port", port.to_string()),
            flag("tls-cert-file", data.join("apiserver.crt")),
            flag("tls-private-key-file", data.join("apiserver.key")),
            flag("client-ca-file", files.authority()),
            flag("token-auth-file", data.join("tokens.csv")),
            flag("authorization-mode", "Node,RBAC"),
            flag("enable-admission-plugins", "NodeRestriction"),
            flag("allow-privileged", "true"),
            // The endpoints of the service `kubernetes` can't be a loopback address.
            flag("endpoint-reconciler-type", "none"),
            flag("service-cluster-ip-range", SERVICES.range),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            // The second is for tokens that users show to the gateway, which has them reviewed for that audience.
            flag("api-audiences", "https://kubernetes.default.svc,vdi-gateway"),
            flag("service-account-signing-key-file", data.join("service-accounts.key")),
            flag("service-account-key-file", data.join("service-accounts.pub")),
            flag("kubelet-certificate-authority", files.authority()),
            flag("kubelet-client-certificate", data.join("kubelet-client.crt")),
            flag("kubelet-client-key", data.join("kubelet-client.key")),
            flag("kubelet-preferred-address-types", "InternalIP"),
            flag("audit-policy-file", data.join("audit-policy.yaml")),
            flag("audit-log-path", files.audit_log()),
            // In mebibytes. At the default of 100 the log would be rotated.
            flag("audit-log-maxsize", "100000"),
        ];
        // Removes the log of an earlier cluster.
        let _ = std::fs::remove_file(files.audit_log());
        start(files, "kube-apiserver", &self.apiserver, arguments)
    }

    pub fn start_controller_manager(&self, files: &Files, kubeconfig: &Path) -> Result<Server, Error> {
        let data = files.data();
        let mut arguments = client_flags(kubeconfig);
        arguments.extend([
            flag("use-service-account-credentials", "true"),
            flag("service-account-private-key-file", data.join("service-accounts.key")),
            flag("root-ca-file", files.authority()),
        ]);
        start(files, "kube-controller-manager", &self.controller_manager, arguments)
    }

    pub fn start_scheduler(&self, files: &Files, kubeconfig: &Path) -> Result<Server, Error> {
        start(files, "kube-scheduler", &self.scheduler, client_flags(kubeconfig))
    }
}

/// The flags that the controller manager and the scheduler share.
fn client_flags(kubeconfig: &Path) -> Vec<OsString> {
    vec![
        flag("kubeconfig", kubeconfig),
        flag("leader-elect", "false"),
        // Nothing reads their health or metrics, so they need no port.
        flag("secure-port", "0"),
        // The default limits of 20 to 50 requests a second would dominate tests with hundreds of pods.
        flag("kube-api-qps", "1000"),
        flag("kube-api-burst", "2000"),
    ]
}

fn start(files: &Files, name: &'static str, program: &Path, arguments: Vec<OsString>) -> Result<Server, Error> {
    let launch = Launch { arguments, supervised: true, ..Launch::new(name, program) };
    Server::start(&files.logs(), launch)
}

pub(crate) fn flag(name: &str, value: impl Into<OsString>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value.into());
    flag
}
