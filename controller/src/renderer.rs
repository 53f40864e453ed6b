//! Asks a desktop what it renders with. Once, when it has just come up; nothing else about it is asked.

use std::{net::IpAddr, time::Duration};

use crate::{
    accelerated::{self, Renderer},
    fetch,
    observe::Observed,
    pod_state::PodState,
};

/// A desktop that is up answers at once, and others wait to be looked at.
const PATIENCE: Duration = Duration::from_secs(1);

pub async fn read(seen: &Observed) -> Renderer {
    let (PodState::Ready { ip: Some(ip) }, Some(terms)) = (&seen.pod, &seen.terms) else {
        return Renderer::NotPublished;
    };
    let Some(path) = terms.renderer_path.as_ref().filter(|_| !accelerated::is_known(seen)) else {
        return Renderer::NotPublished;
    };
    let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), u16::try_from(terms.port)) else { return Renderer::Unreadable };
    match fetch::text((ip, port).into(), terms.protocol, path, PATIENCE).await {
        Ok(text) => Renderer::parse(&text),
        Err(error) => {
            tracing::debug!(session = seen.name, namespace = seen.namespace, %error, "the renderer can't be read");
            Renderer::Unreadable
        }
    }
}
