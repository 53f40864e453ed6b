//! Links to sessions, from the gateway's `/launch`, and visitors who follow them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use vdi_cluster::User;

use crate::{
    entrance::Entrance,
    gateway::DOMAIN,
    stack::Stack,
    visitor::{Answer, Visitor},
};

/// How long a gateway may take to see a change in the cluster. It usually takes moments.
const PATIENCE: Duration = Duration::from_secs(60);

impl Entrance {
    /// Requests a link to a session until the gateway knows the session. Returns the link's host and code.
    pub async fn link(&self, stack: &Stack, user: &User, namespace: &str, name: &str) -> Result<(String, String)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.launch(stack, user, namespace, name).await?;
            if answer.status != 404 || Instant::now() > deadline {
                return answer.link();
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Requests a link to a session, with a user's Kubernetes token.
    pub async fn launch(&self, stack: &Stack, user: &User, namespace: &str, name: &str) -> Result<Answer> {
        let token = stack.cluster.token(user)?;
        let body = json!({ "namespace": namespace, "name": name }).to_string();
        let headers = [("authorization", format!("Bearer {token}"))];
        Visitor::default().ask(self, DOMAIN, Method::POST, "/launch", &headers, body).await
    }
}

impl Answer {
    /// The host and the code (behind the `#`) of the link in a response from /launch.
    pub fn link(&self) -> Result<(String, String)> {
        ensure!(self.status == 200, "{}: {}", self.status, self.body);
        let answer: Value = serde_json::from_str(&self.body)?;
        let url = answer["url"].as_str().context("no url")?;
        let (address, code) = url.split_once('#').context("no code")?;
        let host = address.strip_prefix("https://").and_then(|rest| rest.split(':').next()).context("no host")?;
        Ok((host.to_owned(), code.to_owned()))
    }
}

impl Visitor {
    /// Requests a link as a user of the cluster and follows it, so that the visitor is signed in at the host.
    pub async fn enter(
        gateway: &Entrance,
        stack: &Stack,
        user: &User,
        namespace: &str,
        name: &str,
    ) -> Result<(Self, String)> {
        let (host, code) = gateway.link(stack, user, namespace, name).await?;
        let mut visitor = Self::default();
        let answer = visitor.post(gateway, &host, "/.vdi/enter", &code).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
        Ok((visitor, host))
    }

    /// The same for a running session. Waits until each of the gateways proxies to its desktop.
    pub async fn at_desktop(
        gateways: &[&Entrance],
        stack: &Stack,
        user: &User,
        namespace: &str,
        name: &str,
    ) -> Result<(Self, String)> {
        let (mut visitor, host) = Self::enter(gateways[0], stack, user, namespace, name).await?;
        for gateway in gateways {
            visitor.until_at_desktop(gateway, &host).await?;
        }
        Ok((visitor, host))
    }
}
