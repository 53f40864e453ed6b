//! Volumes for pods: directories of this machine, made when they are claimed and deleted with their claims.

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

/// What the class names as its provisioner: by this the volumes that are ours are known.
const PROVISIONER: &str = "vdiwarden.local/directory";

/// What the volume controller writes on a claim once it wants a volume for it, on both the claims of a class that
/// [waits for the first consumer](https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode)
/// and others.
const WANTED_FROM: &str = "volume.kubernetes.io/storage-provisioner";
/// What it reads on a volume, to leave its deletion to us.
const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Makes volumes until it is dropped. Without claims it only waits.
pub(crate) struct Storage(AbortHandle);

impl Storage {
    /// The name of the cluster's default class.
    pub const CLASS: &str = "standard";

    /// Creates the class, and serves it with directories in `directory`. Real nodes see them, unless they are below /mnt,
    /// /run, /var/lib or /var/log, which a node has of its own (real/node.sh).
    pub async fn start(client: Client, directory: PathBuf) -> Result<Self, Error> {
        create_private_dir(&directory)?;
        let class = json!({
            "metadata": {
                "name": Self::CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            // As the clouds' own classes, whose disks belong to a zone: a claim stays Pending until a pod wants it.
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

/// What a watch that begins anew repeats does no harm here.
fn changes<K>(api: Api<K>) -> impl Stream<Item = K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let objects = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
    objects.filter_map(|object| async { object.ok() })
}

/// There is nobody to return it to.
fn report(name: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        eprintln!("storage for {name}: {error}");
    }
}

/// Gives a claim its volume, when it is one of ours that wants one.
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
            // Nobody measures how much is in it.
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

/// Deletes a volume of ours and what is in it, once its claim is gone.
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

/// Creates a directory that every user may write: kubelets don't give a hostPath volume to a pod's fsGroup. Nobody but
/// the cluster's owner gets at it from outside, since the directory that it is in is private.
async fn create_shared_dir(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    match tokio::fs::create_dir(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        created => created.context("creating", path)?,
    }
    tokio::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).await.context("opening", path)
}
