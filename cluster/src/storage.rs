//! Volumes for pods: directories on this machine, created for claims and deleted with them.

use std::path::{Path, PathBuf};
use std::pin::pin;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::task::AbortHandle;

use crate::error::{Error, IoContext, KubeContext};
use crate::files::create_private_dir;

/// The provisioner of the storage class, which identifies the volumes of this provisioner.
const PROVISIONER: &str = "vdiwarden.local/directory";

/// The annotation that the volume controller writes on a claim once it needs a volume, whether or not its class
/// [waits for the first consumer](https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode).
const WANTED_FROM: &str = "volume.kubernetes.io/storage-provisioner";
/// The annotation by which the volume controller leaves the deletion of a volume to its provisioner.
const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Provisions volumes until it is dropped. Without claims it only waits.
pub(crate) struct Storage(AbortHandle);

impl Storage {
    /// The name of the cluster's default class.
    pub const CLASS: &str = "standard";

    /// Creates the class, and serves it with directories in `directory`. Real nodes see them, unless they are below /mnt,
    /// /run, /var/lib or /var/log, which a node replaces with its own (real/node.sh).
    pub async fn start(client: Client, directory: PathBuf) -> Result<Self, Error> {
        create_private_dir(&directory)?;
        let class = json!({
            "metadata": {
                "name": Self::CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            // As in the clouds, whose disks belong to a zone: a claim stays Pending until a pod uses it.
            "volumeBindingMode": "WaitForFirstConsumer",
        });
        let action = || format!("creating the storage class {}", Self::CLASS);
        let class: StorageClass = serde_json::from_value(class).map_err(kube::Error::SerdeError).context(action())?;
        Api::all(client.clone()).create(&PostParams::default(), &class).await.context(action())?;
        Ok(Self(tokio::spawn(serve(client, directory)).abort_handle()))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(client: Client, directory: PathBuf) {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let mut claimed = pin!(changes::<PersistentVolumeClaim>(Api::all(client)));
    let mut changed = pin!(changes(volumes.clone()));
    loop {
        tokio::select! {
            Some(claim) = claimed.next() => report(&claim.name_any(), make(&claim, &volumes, &directory).await),
            Some(volume) = changed.next() => report(&volume.name_any(), reclaim(&volume, &volumes, &directory).await),
            else => return,
        }
    }
}

/// Handling an object twice, as after a restarted watch, does no harm.
fn changes<K>(api: Api<K>) -> impl Stream<Item = K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let objects = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
    objects.filter_map(|object| async { object.ok() })
}

/// There is no caller to return errors to.
fn report(name: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        eprintln!("storage for {name}: {error}");
    }
}

/// Creates the volume of a claim, if this provisioner is responsible and the claim needs one.
async fn make(claim: &PersistentVolumeClaim, volumes: &Api<PersistentVolume>, directory: &Path) -> Result<(), Error> {
    let is_ours = claim.annotations().get(WANTED_FROM).is_some_and(|provisioner| provisioner == PROVISIONER);
    let Some(spec) = claim.spec.as_ref().filter(|spec| is_ours && spec.volume_name.is_none()) else { return Ok(()) };
    let name = format!("pvc-{}", claim.uid().unwrap_or_default());
    let path = directory.join(&name);
    create_shared_dir(&path).await?;
    let volume = json!({
        "metadata": {"name": name, "annotations": {MADE_BY: PROVISIONER}},
        "spec": {
            "storageClassName": spec.storage_class_name,
            "accessModes": spec.access_modes,
            // The size is not enforced.
            "capacity": spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()),
            "persistentVolumeReclaimPolicy": "Delete",
            "hostPath": {"path": path, "type": "Directory"},
            "claimRef": {"namespace": claim.namespace(), "name": claim.name_any(), "uid": claim.uid()},
        },
    });
    let action = || format!("creating the volume {name}");
    let volume = serde_json::from_value(volume).map_err(kube::Error::SerdeError).context(action())?;
    match volumes.create(&PostParams::default(), &volume).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        created => created.map(drop).context(action()),
    }
}

/// Deletes a volume of this provisioner and its contents once its claim is gone.
async fn reclaim(volume: &PersistentVolume, volumes: &Api<PersistentVolume>, directory: &Path) -> Result<(), Error> {
    let is_ours = volume.annotations().get(MADE_BY).is_some_and(|provisioner| provisioner == PROVISIONER);
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_kept =
        volume.spec.as_ref().is_none_or(|spec| spec.persistent_volume_reclaim_policy.as_deref() != Some("Delete"));
    if !is_ours || is_kept || phase != Some("Released") {
        return Ok(());
    }
    let name = volume.name_any();
    let path = directory.join(&name);
    match tokio::fs::remove_dir_all(&path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed.context("removing", &path)?,
    }
    match volumes.delete(&name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop).context(format!("deleting the volume {name}")),
    }
}

/// Creates a directory that every user may write, because kubelets don't apply a pod's fsGroup to hostPath volumes. Outside the
/// cluster only its owner can reach it, because the parent directory is private.
async fn create_shared_dir(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    match tokio::fs::create_dir(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        created => created.context("creating", path)?,
    }
    tokio::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).await.context("opening", path)
}
