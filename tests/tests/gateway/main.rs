//! The gateway in front of a real cluster: two replicas, a controller, and desktops on simulated nodes.

mod attacks;
mod entering;
mod extending;
mod frames;
mod http2;
mod limits;
mod log;
mod recorder;
mod running;

use anyhow::Result;
use vdi_api::VDISession;
use vdi_tests::{
    fixture::Fixture,
    gateway::Gateway,
    objects::session,
    shared::{Shared, directory},
};

struct Site {
    // Dropped first.
    first: Gateway,
    second: Gateway,
    fixture: Fixture,
}

impl std::ops::Deref for Site {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.fixture
    }
}

/// Runs a test on the shared site of this binary.
fn with_site(test: impl AsyncFnOnce(&'static Site) -> Result<()>) -> Result<()> {
    static SITE: Shared<Site> = Shared::new();
    SITE.with(start, test)
}

async fn start() -> Result<Site> {
    let fixture = Fixture::start(&directory()).await?;
    let first = fixture.gateway("gateway-1", fixture.public_port, &[]).await?;
    let second = fixture.gateway("gateway-2", vdi_cluster::free_port()?, &[]).await?;
    Ok(Site { first, second, fixture })
}

/// A user's session `desktop`, from a template.
fn session_of(user: &str, template: &str) -> VDISession {
    let mut session = session("desktop", template);
    session.spec.user = user.to_owned();
    session
}
