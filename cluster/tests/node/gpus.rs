//! GPUs that a device plugin or a DRA driver offers.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaimTemplate};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use vdi_cluster::RealNode;

use crate::{Space, with_node};

fn with_gpus(name: &str, gpus: u32) -> Value {
    let container = json!({
        "name": "main",
        "image": RealNode::BUSYBOX,
        "command": ["/bin/sleep", "infinity"],
        "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}},
    });
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

/// Whether a condition of a pod says this.
fn says(words: &'static str) -> impl Fn(Option<&Pod>) -> bool {
    move |pod| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref()).into_iter().flatten();
        conditions
            .into_iter()
            .any(|condition| condition.message.as_deref().is_some_and(|message| message.contains(words)))
    }
}

#[test]
fn a_pod_sees_the_gpu_that_it_asks_for_and_the_next_waits_for_it() {
    with_node(async |shared| {
        let space = Space::new(shared, "gpus").await;
        space.run("first", with_gpus("first", 1)).await;
        let seen = "test -c /dev/nvidia0 && echo written >/dev/nvidia0 && echo $NVIDIA_VISIBLE_DEVICES";
        assert_eq!(space.exec("first", seen).await.unwrap(), "0\n");
        space.run("none", with_gpus("none", 0)).await;
        assert_eq!(
            space.exec("none", "ls /dev/nvidia* 2>/dev/null; echo $NVIDIA_VISIBLE_DEVICES; true").await.unwrap(),
            "\n"
        );

        let mut second = with_gpus("second", 1);
        second["spec"]["terminationGracePeriodSeconds"] = json!(0);
        space.create::<Pod>(second).await;
        let says = |words: &'static str| {
            move |pod: Option<&Pod>| {
                let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref()).into_iter().flatten();
                conditions
                    .into_iter()
                    .any(|condition| condition.message.as_deref().is_some_and(|message| message.contains(words)))
            }
        };
        let pods = space.api::<Pod>();
        space.within(await_condition(pods.clone(), "second", says("Insufficient nvidia.com/gpu"))).await.unwrap();
        pods.delete("first", &DeleteParams::default()).await.unwrap();
        space.ready("second").await;
        assert_eq!(space.exec("second", seen).await.unwrap(), "0\n");
    });
}

#[test]
fn a_pod_is_given_the_gpu_that_it_claims_and_the_next_waits_for_it() {
    with_node(async |shared| {
        let space = Space::new(shared, "claims").await;
        let class = json!({
            "metadata": {"name": "gpu.example.com"},
            "spec": {"selectors": [{"cel": {"expression": "device.driver == 'gpu.example.com'"}}]},
        });
        let classes: Api<DeviceClass> = Api::all(shared.cluster.admin());
        classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
        let request = json!({"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}});
        let spec = json!({"spec": {"devices": {"requests": [request]}}});
        space.create::<ResourceClaimTemplate>(json!({"metadata": {"name": "one-gpu"}, "spec": spec})).await;
        let claiming = |name: &str| {
            let mut pod = with_gpus(name, 0);
            pod["spec"]["terminationGracePeriodSeconds"] = json!(0);
            pod["spec"]["resourceClaims"] = json!([{"name": "mine", "resourceClaimTemplateName": "one-gpu"}]);
            pod["spec"]["containers"][0]["resources"] = json!({"claims": [{"name": "mine"}]});
            pod
        };

        space.run("first", claiming("first")).await;
        let seen = "env | grep ^claim_";
        let first = space.exec("first", seen).await.unwrap();
        assert!(first.contains("_gpu=true"), "{first}");
        space.create::<Pod>(claiming("second")).await;
        let pods = space.api::<Pod>();
        space.within(await_condition(pods.clone(), "second", says("cannot allocate all claims"))).await.unwrap();
        pods.delete("first", &DeleteParams::default()).await.unwrap();
        space.ready("second").await;
        assert!(space.exec("second", seen).await.unwrap().contains("_gpu=true"));
    });
}
