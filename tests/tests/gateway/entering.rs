//! How users get to their desktop, and what they see until it runs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vdi_api::Phase;
use vdi_cluster::User;
use vdi_tests::{
    gateway::DOMAIN,
    objects::delete,
    stack::{alice, bob, carol},
    test_namespace::TestNamespace,
    visitor::Visitor,
};

use crate::with_site;

#[test]
fn the_owner_gets_in_by_a_link_and_the_desktop_sees_no_credentials() -> Result<()> {
    with_site(async |site| {
        site.running("owner").await?;
        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "owner", "desktop").await?;
        let page = visitor.open(&site.first, &host, "/").await?;
        ensure!(page.status == 200 && page.body.contains(r#"data-path="/vnc.html""#), "{page:?}");
        for gateway in [&site.first, &site.second] {
            let answer = visitor.get(gateway, &host, "/vnc.html?a=b").await?;
            ensure!(answer.body.starts_with("a desktop was asked for /vnc.html?a=b at alice"), "{answer:?}");
            ensure!(
                answer
                    .body
                    .contains("cookie: -\nauthorization: -\nx-forwarded-for: 127.0.0.1\nx-forwarded-proto: https\n")
            );
            ensure!(answer.header("x-frame-options") == "SAMEORIGIN", "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_desktop_with_a_password_gets_it_from_the_gateway_and_not_from_its_visitor() -> Result<()> {
    with_site(async |site| {
        let namespace = TestNamespace::new(&site.stack, "password").await?;
        let asks = json!({ "user": "desk", "userEnv": "DESK_USER", "passwordEnv": "DESK_PASSWORD" });
        let clash = json!({ "port": 1, "basicAuth": asks, "env": [{ "name": "DESK_PASSWORD", "value": "known" }] });
        let refused =
            namespace.template(clash).await.err().context("a template that sets a variable twice was accepted")?;
        let refused = format!("{refused:#}");
        ensure!(refused.contains("spec.env sets a variable that spec.basicAuth sets too"), "{refused}");

        namespace.template(json!({ "port": site.desktop_port, "basicAuth": asks })).await?;
        let session = namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let pod = namespace.pods.get("vdi-desktop").await?;
        let env = pod.spec.context("no spec")?.containers.swap_remove(0).env.context("no env")?;
        let variable = |name: &str| env.iter().find(|variable| variable.name == name).context("no such variable");
        ensure!(variable("DESK_USER")?.value.as_deref() == Some("desk"));
        let source = variable("DESK_PASSWORD")?.value_from.clone().and_then(|source| source.secret_key_ref);
        let source = source.context("the password is in the pod itself")?;
        let secrets: Api<Secret> = Api::namespaced(site.stack.cluster.admin(), "password");
        let secret = secrets.get(&source.name).await?;
        ensure!(secret.owner_references().iter().any(|owner| Some(&owner.uid) == session.metadata.uid.as_ref()));
        let password = String::from_utf8(secret.data.context("no data")?.remove(&source.key).context("no key")?.0)?;

        let (mut visitor, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "password", "desktop").await?;
        let header = [("authorization", "Basic YWxpY2U6Z3Vlc3M=".to_owned())];
        let answer = visitor.ask(&site.first, &host, Method::GET, "/vnc.html", &header, String::new()).await?;
        let pair = answer
            .body
            .lines()
            .find_map(|line| line.strip_prefix("authorization: Basic "))
            .context("no credentials")?;
        ensure!(STANDARD.decode(pair)? == format!("desk:{password}").into_bytes(), "{answer:?}");
        Ok(())
    })
}

#[test]
fn a_user_with_the_verb_connect_gets_a_link_to_the_owners_desktop() -> Result<()> {
    with_site(async |site| {
        site.running("support").await?;
        ensure!(site.first.launch(&site.stack, &bob(), "support", "desktop").await?.status == 404);
        let binding =
            ["create", "rolebinding", "bob", "-n", "support", "--clusterrole=vdi-supporter", "--user=bob@example.com"];
        site.stack.kubectl_ok(&User::admin(), binding).await?;
        // The API server applies a new role binding with a short delay.
        let mut answer = site.first.launch(&site.stack, &bob(), "support", "desktop").await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while answer.status == 404 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = site.first.launch(&site.stack, &bob(), "support", "desktop").await?;
        }
        let (host, code) = answer.link()?;
        let mut visitor = Visitor::default();
        ensure!(visitor.post(&site.first, &host, "/.vdi/enter", &code).await?.status == 200);
        ensure!(visitor.get(&site.first, &host, "/").await?.body.starts_with("a desktop was asked"));
        Ok(())
    })
}

#[test]
fn the_owner_can_renew_their_token_and_a_supporter_can_neither_renew_nor_extend() -> Result<()> {
    with_site(async |site| {
        let namespace = site.running("renewed").await?;
        let binding = [
            "create",
            "rolebinding",
            "helper",
            "-n",
            "renewed",
            "--clusterrole=vdi-supporter",
            "--user=carol@example.com",
        ];
        site.stack.kubectl_ok(&User::admin(), binding).await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while site.first.launch(&site.stack, &carol(), "renewed", "desktop").await?.status != 200 {
            ensure!(Instant::now() < deadline, "the role binding has no effect");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (mut owner, host) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &alice(), "renewed", "desktop").await?;
        let (mut supporter, _) =
            Visitor::at_desktop(&[&site.first, &site.second], &site.stack, &carol(), "renewed", "desktop").await?;
        ensure!(supporter.get(&site.first, &host, "/").await?.status == 200);
        ensure!(owner.post(&site.first, &host, "/.vdi/renew", "").await?.status == 200);
        for path in ["/.vdi/renew", "/.vdi/extend"] {
            ensure!(supporter.post(&site.first, &host, path, "").await?.status == 403);
        }
        delete(&namespace.sessions, "desktop").await
    })
}

#[test]
fn a_link_requires_a_token_issued_for_the_gateway() -> Result<()> {
    with_site(async |site| {
        site.running("tokens").await?;
        let body = json!({ "namespace": "tokens", "name": "desktop" }).to_string();
        let ask = async |authorization: Option<String>, body: &str| {
            let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
            Visitor::default().ask(&site.first, DOMAIN, Method::POST, "/launch", &headers, body.to_owned()).await
        };
        // A service account's tokens: one for the API server, and one for the gateway.
        let create = ["create", "serviceaccount", "visitor", "-n", "tokens"];
        site.stack.kubectl_ok(&User::admin(), create).await?;
        let token = async |audience: &str| {
            let audience = format!("--audience={audience}");
            site.stack.kubectl_ok(&User::admin(), ["create", "token", "visitor", "-n", "tokens", &audience]).await
        };
        let for_the_api_server = format!("Bearer {}", token("https://kubernetes.default.svc").await?.trim());
        let for_the_gateway = format!("Bearer {}", token("vdi-gateway").await?.trim());
        for (authorization, body, status) in [
            (None, &*body, 401),
            (Some("Bearer nonsense".to_owned()), &body, 401),
            (Some("Basic YTpi".to_owned()), &body, 401),
            (Some(for_the_api_server), &body, 401),
            // Valid, but the service account owns no session.
            (Some(for_the_gateway.clone()), &body, 404),
            (Some(for_the_gateway), "{}", 400),
        ] {
            let answer = ask(authorization, body).await?;
            ensure!(answer.status.as_u16() == status, "{body}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn only_the_log_says_why_a_token_is_invalid() -> Result<()> {
    with_site(async |site| {
        let body = json!({ "namespace": "default", "name": "desktop" }).to_string();
        let create = ["create", "token", "default", "-n", "default", "--audience=https://kubernetes.default.svc"];
        let for_the_api_server = site.stack.kubectl_ok(&User::admin(), create).await?;
        for token in ["nonsense", "a.b.c", for_the_api_server.trim()] {
            let headers = [("authorization", format!("Bearer {token}"))];
            let answer =
                Visitor::default().ask(&site.second, DOMAIN, Method::POST, "/launch", &headers, body.clone()).await?;
            let expected = "invalid token: show one that this cluster issued for this gateway's audience and that has not expired\n";
            ensure!(answer.status == 401 && answer.body == expected, "{answer:?}");
        }
        let log = site.second.replica.log()?;
        let rejected = log.lines().filter(|line| line.contains("a token was rejected")).count();
        ensure!(rejected == 3 && log.contains("invalid bearer token"), "{rejected}");
        Ok(())
    })
}

#[test]
fn the_waiting_page_follows_the_status_of_its_session() -> Result<()> {
    with_site(async |site| {
        let namespace = TestNamespace::new(&site.stack, "waiting").await?;
        namespace.template(json!({ "port": site.desktop_port, "gpu": { "resourceName": "example.com/none" } })).await?;
        namespace.session("desktop").await?;
        namespace.wait("desktop", Phase::Pending, "Unschedulable").await?;
        let (mut visitor, host) = Visitor::enter(&site.first, &site.stack, &alice(), "waiting", "desktop").await?;
        let page = visitor.open(&site.first, &host, "/").await?;
        ensure!(page.status == 200 && page.body.contains("no node is large enough"), "{page:?}");
        ensure!(
            page.header("cache-control") == "no-store"
                && page.header("content-security-policy").contains("default-src 'none'")
        );

        let response = visitor.send(&site.first, &host, Method::GET, "/.vdi/events", &[], String::new()).await?;
        ensure!(response.status() == 200, "{response:?}");
        let mut events = Events(response.into_body(), String::new());
        let first = events.next().await?;
        ensure!(first["isComing"] == true && first["isRunning"] == false, "{first}");
        namespace.change("desktop", json!({ "suspend": true })).await?;
        let mut now = first;
        while now["title"] != "Suspended" {
            now = events.next().await?;
        }
        delete(&namespace.sessions, "desktop").await?;
        while now != json!("gone") {
            now = events.next().await?;
        }
        Ok(())
    })
}

/// A stream of server-sent events, and what has arrived of the next one.
struct Events(hyper::body::Incoming, String);

impl Events {
    /// The data of the next event, or `"gone"`.
    async fn next(&mut self) -> Result<Value> {
        use http_body_util::BodyExt;
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ").or(line.strip_prefix("data:")));
                let data = data.map(str::to_owned);
                let is_gone = event.contains("event: gone");
                self.1 = rest.to_owned();
                match data {
                    _ if is_gone => return Ok(json!("gone")),
                    Some(data) => return Ok(serde_json::from_str(&data)?),
                    None => continue,
                }
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(60), self.0.frame()).await.context("no event arrived")?;
            let frame = frame.context("the stream ended")??;
            self.1 += &String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data));
        }
    }
}
