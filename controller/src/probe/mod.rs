//! What has to be asked over the network: how idle a desktop is, what it renders with, and why a home has no volume.

mod acceleration;
mod activity;
mod fetch;
mod provisioning;

use jiff::Timestamp;
use kube::Client;
use vdi_planner::model::{HomeState, Idle, Renderer};
use vdi_service::Reach;

use crate::cache::{SessionView, Stores};

pub use activity::{Activity, ActivityUrl};

/// Whom to ask.
pub struct Probes {
    pub client: Client,
    pub activity: Activity,
    /// Where desktops may be.
    pub reach: Reach,
}

/// What they answered about one session.
pub struct Probed {
    pub renderer: Renderer,
    pub idle: Option<Idle>,
    /// Why the session's home has no volume, in the provisioner's words.
    pub unbound_home: Option<String>,
}

impl Probes {
    pub async fn probe(&self, view: &SessionView<'_>, home: &HomeState, stores: &Stores, now: Timestamp) -> Probed {
        Probed {
            renderer: acceleration::renderer(view, &self.reach).await,
            idle: self.activity.idle(&view.uid),
            unbound_home: provisioning::failure(view, home, &self.client, &stores.aside, now).await,
        }
    }
}
