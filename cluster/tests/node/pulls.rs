//! Images that a node pulls.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Output;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use tokio::process::Command;
use vdi_cluster::{Launch, Program, RealNode, Server, packages};

use crate::{Shared, Space, with_node};

/// A registry on loopback.
struct Registry {
    _server: Server,
    port: u16,
    directory: PathBuf,
}

impl Registry {
    async fn start(shared: &Shared) -> Self {
        packages::ensure(&["docker-registry"]).await.unwrap();
        let port = vdi_cluster::free_port().unwrap();
        let directory = shared.cluster.logs().parent().unwrap().join("registry");
        std::fs::create_dir_all(&directory).unwrap();
        let storage = json!({"filesystem": {"rootdirectory": directory.join("contents")}});
        let config = json!({"version": "0.1", "storage": storage, "http": {"addr": format!("127.0.0.1:{port}")}});
        std::fs::write(directory.join("config.yml"), config.to_string()).unwrap();
        let launch = Launch {
            arguments: vec!["serve".into(), directory.join("config.yml").into()],
            environment: vec![("DIRECTORY", directory.clone().into())],
            cleanup: r#"rm -rf "$DIRECTORY""#,
            ..Launch::new("docker-registry", Path::new("docker-registry"))
        };
        let server = Server::start(&shared.cluster.logs(), launch).unwrap();
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Self { _server: server, port, directory }
    }

    /// Pushes the node's busybox under this name, and returns its reference by digest.
    async fn push_busybox(&self, node: &RealNode, name: &str) -> String {
        let tag = format!("127.0.0.1:{}/{name}:pushed", self.port);
        let socket = format!("/run/{}/containerd/containerd.sock", node.name());
        let mut push = Command::new(Program::Ctr.ensure().await.unwrap());
        push.args(["--address", &socket, "--namespace", "k8s.io", "images", "push", "--plain-http", &tag]);
        let Output { status, stderr, .. } = push.arg(RealNode::BUSYBOX).output().await.unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        let links = "contents/docker/registry/v2/repositories";
        let link = self.directory.join(links).join(name).join("_manifests/tags/pushed/current/link");
        let digest = std::fs::read_to_string(link).unwrap();
        format!("127.0.0.1:{}/{name}@{digest}", self.port)
    }
}

fn of_image(name: &str, image: &str) -> Value {
    let container = json!({
        "name": "main",
        "image": image,
        "imagePullPolicy": "Always",
        "command": ["/bin/sleep", "infinity"],
    });
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

/// Why an image isn't there, when a pull has failed.
async fn why_not(space: &Space, pod: &str) -> String {
    let message = |pod: &Pod| {
        let waiting = pod.status.as_ref()?.container_statuses.as_ref()?[0].state.as_ref()?.waiting.as_ref()?;
        waiting.message.clone().filter(|_| waiting.reason.as_deref() == Some("ErrImagePull"))
    };
    let failed = await_condition(space.api(), pod, |pod: Option<&Pod>| pod.and_then(message).is_some());
    message(&space.within(failed).await.unwrap().unwrap()).unwrap()
}

#[test]
fn an_image_is_pulled_by_its_digest_from_a_registry_on_loopback_and_from_nowhere_else() {
    with_node(async |shared| {
        let registry = Registry::start(shared).await;
        let image = registry.push_busybox(&shared.node, "some/busybox").await;
        let space = Space::new(shared, "pulls").await;
        space.run("pulled", of_image("pulled", &image)).await;
        let pod = space.api::<Pod>().get("pulled").await.unwrap();
        let status = &pod.status.unwrap().container_statuses.unwrap()[0];
        assert!(status.image_id.ends_with(image.split_once('@').unwrap().1), "{status:?}");

        let (name, digest) = image.split_once("@sha256:").unwrap();
        let other = format!("{name}@sha256:{}", digest.chars().rev().collect::<String>());
        space.create::<Pod>(of_image("missing", &other)).await;
        let why = why_not(&space, "missing").await;
        assert!(why.contains("not found"), "{why}");

        // By a name, so that this test asks nobody's name server, and by an address that is for documentation.
        for (pod, image) in [("name", "registry.invalid/none:1"), ("address", "198.51.100.7/none:1")] {
            space.create::<Pod>(of_image(pod, image)).await;
            let why = why_not(&space, pod).await;
            assert!(why.contains("127.0.0.1:1: connect: connection refused"), "{why}");
        }
    });
}
