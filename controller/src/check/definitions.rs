//! Whether the API server serves our custom resources.

use kube::{Client, Resource};
use vdi_api::{VDISession, VDITemplate};

use super::finding::{Finding, Problem};

/// By the API server's discovery, which everyone may read.
pub async fn check(client: &Client) -> Finding {
    let group_version = VDISession::api_version(&());
    let wanted = [VDISession::plural(&()), VDITemplate::plural(&())];
    let served = match client.list_api_group_resources(&group_version).await {
        Ok(served) => served.resources,
        Err(kube::Error::Api(status)) if status.code == 404 => vec![],
        Err(error) => {
            let remedy = "the test's pod must reach the API server: see the NetworkPolicies of this namespace";
            return Err(Problem::new(format!("the API server can't be asked what it serves: {error}"), remedy));
        }
    };
    let missing: Vec<_> =
        wanted.iter().filter(|wanted| !served.iter().any(|resource| resource.name == **wanted)).collect();
    match missing.first() {
        None => Ok(format!("the API server serves {} ({group_version})", wanted.join(" and "))),
        Some(missing) => Err(Problem::new(
            format!("the API server doesn't serve {missing} ({group_version})"),
            "install the CRDs: upgrade the release with the value crds.install=true, or apply the files of the chart's files/crds",
        )),
    }
}
