//! How many sessions name each template: told in the template's status, now and then.

use std::{collections::HashMap, time::Duration};

use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use vdi_api::VDITemplate;
use vdi_service::{Lenient, lenient::Custom};

use crate::stores::Stores;

/// A count that is a few seconds old does for people, and costs one write however many sessions come and go meanwhile.
const PAUSE: Duration = Duration::from_secs(5);

/// Never returns.
pub async fn follow(stores: &Stores, client: &Client) {
    let templates: Api<Lenient<Custom<VDITemplate>>> = Api::all(client.clone());
    loop {
        tokio::time::sleep(PAUSE).await;
        for (name, sessions) in to_tell(stores) {
            let patch = Patch::Merge(json!({ "status": { "sessions": sessions } }));
            match templates.patch_status(&name, &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => tracing::warn!(template = name, %error, "how many sessions it has can't be told"),
                Ok(_) => {}
            }
        }
    }
}

/// The templates whose count is another than was told.
fn to_tell(stores: &Stores) -> Vec<(String, i64)> {
    let mut counts: HashMap<String, i64> = HashMap::new();
    for session in stores.sessions.state() {
        *counts.entry(session.spec.template.clone()).or_default() += 1;
    }
    let templates = stores.templates.state().into_iter();
    let news = templates.filter_map(|template| {
        let told = template.status.as_ref().map_or(0, |status| status.sessions);
        let count = counts.get(&template.name_any()).copied().unwrap_or_default();
        (told != count).then(|| (template.name_any(), count))
    });
    news.collect()
}
