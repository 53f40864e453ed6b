//! Keeps the number of its sessions in each template's status.

use std::{collections::HashMap, time::Duration};

use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use vdi_api::VDITemplate;
use vdi_service::{Lenient, lenient::Custom};

use crate::cache::Stores;

/// A count that is a few seconds old is good enough for people, and costs one write however many sessions come and go meanwhile.
const PAUSE: Duration = Duration::from_secs(5);

/// Never returns.
pub async fn follow(stores: &Stores, client: &Client) {
    let templates: Api<Lenient<Custom<VDITemplate>>> = Api::all(client.clone());
    loop {
        tokio::time::sleep(PAUSE).await;
        for (name, sessions) in outdated(stores) {
            let patch = Patch::Merge(json!({ "status": { "sessions": sessions } }));
            match templates.patch_status(&name, &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::warn!(template = name, %error, "writing the template's number of sessions failed")
                }
                Ok(_) => {}
            }
        }
    }
}

/// The templates whose published count is wrong, with the right one.
fn outdated(stores: &Stores) -> Vec<(String, i64)> {
    let mut counts: HashMap<String, i64> = HashMap::new();
    for session in stores.sessions.state() {
        *counts.entry(session.spec.template.clone()).or_default() += 1;
    }
    let templates = stores.templates.state().into_iter();
    let outdated = templates.filter_map(|template| {
        let published = template.status.as_ref().map_or(0, |status| status.sessions);
        let count = counts.get(&template.name_any()).copied().unwrap_or_default();
        (published != count).then(|| (template.name_any(), count))
    });
    outdated.collect()
}
