//! The cluster's DNS.

use serde_json::json;

use crate::{Space, with_node};

#[test]
fn names_of_services_are_found_and_names_outside_the_cluster_do_not_exist() {
    with_node(async |shared| {
        let space = Space::new(shared, "dns").await;
        let web = space.service("web", json!({"ports": [{"port": 80}]})).await;
        let address = web.spec.unwrap().cluster_ip.unwrap();
        space.pod("client", json!({}), "exec sleep infinity").await;
        space.exec_until("client", "nslookup -type=a kubernetes.default.svc.cluster.local").await;

        // As programs look names up, with the search list.
        for name in ["web", "web.dns", "web.dns.svc", "web.dns.svc.cluster.local"] {
            let found = space.exec_until("client", &format!("ping -c 1 -W 1 {name} 2>&1 | head -n 1")).await;
            assert!(found.contains(&format!("({address})")), "{name}: {found}");
        }
        for name in ["example.com", "web.other", "no-such.dns.svc.cluster.local"] {
            let lookup = format!("time wget -q -O - http://{name}/");
            let failed = space.exec("client", &lookup).await.unwrap_err();
            assert!(failed.contains("bad address") && failed.contains("real\t0m 0."), "{name}: {failed}");
        }
        let outside = space.exec("client", "nslookup -type=a example.com").await.unwrap_err();
        assert!(outside.contains("NXDOMAIN"), "{outside}");
    });
}
