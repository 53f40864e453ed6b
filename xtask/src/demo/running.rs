//! The running demo, and what alice does in either form of it.

use std::path::Path;

use anyhow::Result;
use vdi_tests::{
    entrance::Entrance,
    installed::{self, Installed},
    setup,
    stack::{DESKTOPS, Stack, alice},
    workspace,
};

use super::{
    options::Options,
    simulated::{self, Simulated},
};

pub const SESSION: &str = "alice-desktop";

/// Dropping it stops everything.
pub enum Demo {
    Installed(Box<Installed>),
    Simulated(Box<Simulated>),
}

impl Demo {
    pub async fn start(options: &Options, directory: &Path) -> Result<Self> {
        let (port, sign_in) = (port()?, options.oidc || options.network.is_some());
        if options.simulated {
            return Ok(Self::Simulated(Box::new(simulated::start(directory, port, sign_in).await?)));
        }
        if options.check || options.network.is_some() {
            setup::browser().await?;
        }
        let options = installed::Options { port, gpus: 1, sign_in };
        Ok(Self::Installed(Box::new(Installed::start(directory, options).await?)))
    }

    pub fn stack(&self) -> &Stack {
        match self {
            Self::Installed(installed) => &installed.stack,
            Self::Simulated(simulated) => &simulated.stack,
        }
    }

    pub fn entrance(&self) -> &Entrance {
        match self {
            Self::Installed(installed) => &installed.entrance,
            Self::Simulated(simulated) => &simulated.gateway,
        }
    }

    /// Whether people can sign in at an OpenID provider.
    pub fn signs_in(&self) -> bool {
        match self {
            Self::Installed(installed) => installed.provider.is_some(),
            Self::Simulated(simulated) => simulated.provider.is_some(),
        }
    }
}

/// The usual port, so that addresses stay the same, or a free one if it is taken.
fn port() -> Result<u16> {
    const USUAL: u16 = 8443;
    match std::net::TcpListener::bind(("127.0.0.1", USUAL)) {
        Ok(_) => Ok(USUAL),
        Err(_) => Ok(vdi_cluster::free_port()?),
    }
}

pub async fn apply_session(stack: &Stack) -> Result<()> {
    println!("\n$ kubectl apply -f deploy/samples/alice-desktop.yaml    # as {}", alice().name);
    let session = workspace().join("deploy/samples").join(SESSION).with_extension("yaml").display().to_string();
    print!("{}", stack.kubectl_ok(&alice(), ["apply", "-f", &session]).await?);
    Ok(())
}

/// As `curl` and a Kubernetes token would get it.
pub async fn link(stack: &Stack, entrance: &Entrance) -> Result<String> {
    let (host, code) = entrance.link(stack, &alice(), DESKTOPS, SESSION).await?;
    Ok(format!("https://{}/.vdi/enter#{code}", entrance.authority(&host)))
}
