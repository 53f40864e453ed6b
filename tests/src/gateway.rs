//! A running gateway.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    path::Path,
};

use anyhow::Result;
use vdi_cluster::{Launch, Server};

use crate::{
    entrance::Entrance,
    replica::Replica,
    stack::{Stack, gateway, login_keys, program},
};

/// Desktops in tests and in the demo are one label below. Browsers resolve names below `localhost` to this machine.
pub const DOMAIN: &str = "vdi.localhost";

/// A gateway on loopback with a certificate from the cluster's authority. Dropping it stops it.
pub struct Gateway {
    pub replica: Replica,
    entrance: Entrance,
}

/// How to start a gateway.
pub struct GatewayLaunch {
    /// Its log is `<name>.log`.
    pub name: &'static str,
    pub port: u16,
    /// The port in the public address. With several replicas, it belongs to the load balancer.
    pub public_port: u16,
    pub flags: Vec<String>,
}

impl Gateway {
    pub async fn start(stack: &Stack, launch: GatewayLaunch) -> Result<Self> {
        Self::start_program(stack, &program("vdi-gateway"), launch).await
    }

    /// The same with another executable.
    pub async fn start_program(stack: &Stack, program: &Path, launch: GatewayLaunch) -> Result<Self> {
        let entrance = Entrance::new((Ipv4Addr::LOCALHOST, launch.port).into(), launch.public_port);
        let mut replica = Self::launch(stack, program, launch)?;
        replica.wait_until_ready().await?;
        Ok(Self { replica, entrance })
    }

    /// Starts one that may have to wait for something before it serves browsers.
    pub fn launch(stack: &Stack, program: &Path, launch: GatewayLaunch) -> Result<Replica> {
        let GatewayLaunch { name, port, public_port, flags } = launch;
        let (certificate, key) = stack.cluster.certificate(name, &[DOMAIN, &format!("*.{DOMAIN}")])?;
        let settings = [
            ("--listen", format!("{}:{port}", Ipv4Addr::LOCALHOST)),
            ("--public-url", format!("https://{DOMAIN}:{public_port}")),
            ("--namespace", "vdiwarden-system".to_owned()),
        ];
        let settings = settings.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let arguments: Vec<OsString> = settings.chain(flags).map(Into::into).collect();
        // Variables, so that a flag takes precedence.
        let mut environment = vec![
            ("VDI_OPERATIONS_LISTEN", "127.0.0.1:0".into()),
            ("VDI_TLS_CERT", certificate.into()),
            ("VDI_TLS_KEY", key.into()),
            ("KUBECONFIG", stack.cluster.kubeconfig(&gateway())?.into()),
        ];
        environment.extend(login_keys(&arguments));
        let server =
            Server::start(&stack.cluster.logs(), Launch { arguments, environment, ..Launch::new(name, program) })?;
        Ok(Replica::new(server, stack.cluster.logs().join(name).with_extension("log"), "operations"))
    }

    /// The same gateway, for visitors who connect to something in front of it.
    pub fn behind(self, front: SocketAddr) -> Self {
        Self { entrance: self.entrance.behind(front), ..self }
    }
}

impl Deref for Gateway {
    type Target = Entrance;

    fn deref(&self) -> &Entrance {
        &self.entrance
    }
}
