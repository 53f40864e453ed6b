//! Volumes. The nodes are simulated; that what is in a volume outlives its pod is seen where a desktop's home is tested.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::{Condition, await_condition, conditions};
use serde_json::json;
use vdi_cluster::{ControlPlane, SimulatedNodes};

#[tokio::test]
async fn a_claim_gets_a_directory_when_a_pod_wants_it_and_loses_it_when_it_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = ControlPlane::start(directory.path(), &[]).await.unwrap();
    let _nodes = SimulatedNodes::start(&cluster, 1, 0).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(cluster.admin());
    let volumes: Api<PersistentVolume> = Api::all(cluster.admin());
    let pods: Api<Pod> = Api::default_namespaced(cluster.admin());

    for (name, mode) in [("home", "ReadWriteOnce"), ("shared", "ReadWriteMany"), ("unwanted", "ReadWriteOnce")] {
        let spec = json!({"accessModes": [mode], "resources": {"requests": {"storage": "10Gi"}}});
        let claim = json!({"metadata": {"name": name}, "spec": spec});
        claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    }
    create_pod(&pods, &["home", "shared"]).await;
    until(&pods, "desktop", conditions::is_pod_running()).await;

    let home = claims.get("home").await.unwrap();
    assert_eq!(home.spec.as_ref().unwrap().storage_class_name.as_deref(), Some("standard"));
    let volume = volumes.get(home.spec.unwrap().volume_name.as_deref().unwrap()).await.unwrap().spec.unwrap();
    assert_eq!(volume.capacity.unwrap()["storage"].0, "10Gi");
    let path = PathBuf::from(volume.host_path.unwrap().path);
    assert!(path.starts_with(directory.path()), "{}", path.display());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o777, "a pod of any user may write");
    let waits = claims.get("unwanted").await.unwrap();
    assert_eq!(waits.status.unwrap().phase.as_deref(), Some("Pending"), "nobody wants it");

    std::fs::write(path.join("file"), "").unwrap();
    pods.delete("desktop", &DeleteParams::default()).await.unwrap();
    until(&pods, "desktop", |pod: Option<&Pod>| pod.is_none()).await;
    assert!(path.join("file").exists(), "a volume outlives its pod");
    create_pod(&pods, &["home"]).await;
    until(&pods, "desktop", conditions::is_pod_running()).await;
    pods.delete("desktop", &DeleteParams::default()).await.unwrap();

    claims.delete("home", &DeleteParams::default()).await.unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    until(&volumes, name, |volume: Option<&PersistentVolume>| volume.is_none()).await;
    assert!(!path.exists());

    drop(cluster);
    assert!(!volumes_in(directory.path()).exists());
}

fn volumes_in(directory: &Path) -> PathBuf {
    directory.join("data/volumes")
}

async fn create_pod(pods: &Api<Pod>, claims: &[&str]) {
    let volumes: Vec<_> =
        claims.iter().map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}})).collect();
    let container = json!({"name": "main", "image": "example.com/none"});
    let pod = json!({"metadata": {"name": "desktop"}, "spec": {"containers": [container], "volumes": volumes}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
}

async fn until<K>(api: &Api<K>, name: &str, condition: impl Condition<K>)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let reached = await_condition(api.clone(), name, condition);
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect("it comes in time").unwrap();
}
