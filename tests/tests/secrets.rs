//! The Secrets that the controller and the gateways share and create themselves: the login keys and the activity token.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use vdi_cluster::User;
use vdi_tests::{
    fixture::Fixture,
    gateway::{Gateway, GatewayLaunch},
    http,
    objects::wait_gone,
    shared::{Shared, directory},
    stack::{alice, controller, program},
    test_namespace::TestNamespace,
    visitor::Visitor,
    wait,
};

const SYSTEM: &str = "vdiwarden-system";
const LOGIN_KEYS: &str = "vdi-login-keys";
const ACTIVITY_TOKEN: &str = "vdi-activity-token";

struct Site {
    fixture: Fixture,
    /// The ports of the two gateways that the controller asks for activity.
    operations: [u16; 2],
    /// Both tests with gateways use these ports.
    one: Mutex<()>,
}

async fn start() -> Result<Site> {
    let operations = [vdi_cluster::free_port()?, vdi_cluster::free_port()?];
    let urls = operations.map(|port| format!("http://127.0.0.1:{port}/activity")).join(",");
    let flags = ["--activity-url", &urls, "--activity-token-secret", ACTIVITY_TOKEN];
    let fixture = Fixture::with_controller(&directory(), &flags, Vec::new()).await?;
    Ok(Site { fixture, operations, one: Mutex::default() })
}

fn with_site(test: impl AsyncFnOnce(&'static Site, MutexGuard<'static, ()>) -> Result<()>) -> Result<()> {
    static SITE: Shared<Site> = Shared::new();
    SITE.with(start, async |site| test(site, site.one.lock().await).await)
}

impl Site {
    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.fixture.stack.cluster.admin(), SYSTEM)
    }

    /// The value in a Secret, once it exists.
    async fn value(&self, name: &str, key: &str) -> Result<String> {
        let secrets = self.secrets();
        let value = async || {
            let secret = secrets.get_opt(name).await?;
            Ok(secret.and_then(|mut secret| secret.data.as_mut()?.remove(key)))
        };
        Ok(String::from_utf8(wait::for_value(&format!("the Secret {name} has {key}"), value).await?.0)?)
    }

    async fn gateway(&self, name: &'static str, index: usize) -> Result<Gateway> {
        let operations = format!("127.0.0.1:{}", self.operations[index]);
        let flags = ["--operations-listen", &operations, "--activity-token-secret", ACTIVITY_TOKEN];
        let port = if index == 0 { self.fixture.public_port } else { vdi_cluster::free_port()? };
        self.fixture.gateway(name, port, &flags).await
    }

    /// The status of a gateway's report of activity to whoever has this token.
    async fn report(&self, index: usize, token: &str) -> Result<u16> {
        let address = ([127, 0, 0, 1], self.operations[index]).into();
        Ok(http::get_with_token(address, "/activity", token).await?.0)
    }
}

/// A namespace with a running session of alice's, whose desktop asks for a password and which ends after 20 seconds without input.
async fn with_password(site: &Site, name: &str) -> Result<TestNamespace> {
    let namespace = TestNamespace::new(&site.fixture.stack, name).await?;
    let template = json!({
        "port": site.fixture.desktop_port,
        "basicAuth": { "user": "desk", "passwordEnv": "PASSWORD" },
        "idleTimeout": "20s",
    });
    namespace.template(template).await?;
    namespace.session("desktop").await?;
    namespace.wait_running("desktop").await?;
    Ok(namespace)
}

/// The password that the controller has set for the namespace's desktop.
async fn password(namespace: &TestNamespace) -> Result<String> {
    let pod = namespace.pods.get("vdi-desktop").await?;
    let env = pod.spec.context("no spec")?.containers.swap_remove(0).env.context("no environment")?;
    let variable = env.into_iter().find(|variable| variable.name == "PASSWORD").context("no password")?;
    let source = variable.value_from.and_then(|source| source.secret_key_ref).context("no Secret")?;
    let secrets: Api<Secret> = Api::namespaced(namespace.client.clone(), &namespace.name);
    let value = secrets.get(&source.name).await?.data.and_then(|mut data| data.remove(&source.key));
    Ok(String::from_utf8(value.context("no such key")?.0)?)
}

/// Checks that each gateway sends a visitor's requests to the desktop with its password.
async fn ensure_open(site: &Site, namespace: &TestNamespace, gateways: &[&Gateway]) -> Result<()> {
    let pair = STANDARD.encode(format!("desk:{}", password(namespace).await?));
    let wanted = format!("\nauthorization: Basic {pair}\n");
    let stack = &site.fixture.stack;
    for gateway in gateways {
        let (mut visitor, host) = Visitor::at_desktop(&[gateway], stack, &alice(), &namespace.name, "desktop").await?;
        let answer = visitor.ask(gateway, &host, Method::GET, "/vnc.html", &[], String::new()).await?;
        ensure!(answer.body.contains(&wanted), "{}: {answer:?}", namespace.name);
    }
    Ok(())
}

#[test]
fn whichever_program_is_first_creates_the_secrets_and_after_a_deletion_all_agree_on_new_ones() -> Result<()> {
    with_site(async |site, _alone| {
        // Both at once, so that they compete with each other and with the controller.
        let (first, second) = tokio::try_join!(site.gateway("gateway-1", 0), site.gateway("gateway-2", 1))?;
        let (keys, token) = (site.value(LOGIN_KEYS, "login-keys").await?, site.value(ACTIVITY_TOKEN, "token").await?);
        for value in [&keys, &token] {
            ensure!(value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "not 256 bits");
        }
        for index in [0, 1] {
            ensure!(site.report(index, &token).await? == 200);
            ensure!(site.report(index, &keys).await? == 401);
        }
        let before = with_password(site, "secrets-before").await?;
        ensure_open(site, &before, &[&first, &second]).await?;

        // As if somebody had cleaned up, while one replica restarts.
        ensure!(second.replica.stop()?.success());
        for name in [LOGIN_KEYS, ACTIVITY_TOKEN] {
            site.secrets().delete(name, &DeleteParams::default()).await?;
        }
        let second = site.gateway("gateway-3", 1).await?;
        let new = (site.value(LOGIN_KEYS, "login-keys").await?, site.value(ACTIVITY_TOKEN, "token").await?);
        ensure!(new.0 != keys && new.1 != token, "these are the old ones");
        for index in [0, 1] {
            let agrees =
                async || Ok(site.report(index, &new.1).await? == 200 && site.report(index, &token).await? == 401);
            wait::until("each gateway knows the new token, and it alone", agrees).await?;
        }
        let after = with_password(site, "secrets-after").await?;
        ensure_open(site, &after, &[&first, &second]).await?;
        // The controller asks with the new token, too: otherwise nothing would count as idle.
        wait_gone(&after.sessions, "desktop").await?;
        after.wait_event("desktop", "Idle").await?;

        for log in [
            first.replica.log()?,
            second.replica.log()?,
            std::fs::read_to_string(directory().join("logs/vdi-controller.log"))?,
        ] {
            for value in [&keys, &token, &new.0, &new.1] {
                ensure!(!log.contains(value.as_str()), "a secret is in a log");
            }
        }
        Ok(())
    })
}

/// In a quiet cluster, the API server sends nothing at all on a watch, and a gateway gives up a connection after 70 s of silence.
#[test]
fn no_watch_of_a_gateway_lasts_longer_than_it_bears_silence() -> Result<()> {
    with_site(async |site, _alone| {
        let gateway = site.gateway("gateway-that-watches", 0).await?;
        let log = std::fs::read_to_string(site.fixture.stack.cluster.audit_log())?;
        let mut watched = BTreeSet::new();
        for line in log.lines() {
            let request: Value = serde_json::from_str(line)?;
            if request["verb"] != "watch" || request["user"]["username"] != vdi_tests::stack::gateway().name {
                continue;
            }
            let uri = request["requestURI"].as_str().context("no URI")?;
            let seconds = uri.split("timeoutSeconds=").nth(1).and_then(|rest| rest.split('&').next());
            let seconds: u32 = seconds.context(uri.to_owned())?.parse()?;
            ensure!(seconds <= 60, "{uri}");
            watched.insert(request["objectRef"]["resource"].to_string());
        }
        ensure!(watched == ["\"pods\"", "\"secrets\"", "\"vdisessions\""].map(str::to_owned).into(), "{watched:?}");
        ensure!(gateway.replica.stop()?.success());
        Ok(())
    })
}

#[test]
fn a_desktop_of_a_deleted_key_opens_again_once_it_is_suspended_and_resumed() -> Result<()> {
    with_site(async |site, _alone| {
        let gateway = site.gateway("gateway-resumed", 0).await?;
        let namespace = with_password(site, "secrets-resumed").await?;
        namespace.change("desktop", json!({ "timeout": "1h" })).await?;
        ensure_open(site, &namespace, &[&gateway]).await?;
        let before = password(&namespace).await?;
        site.secrets().delete(LOGIN_KEYS, &DeleteParams::default()).await?;
        site.value(LOGIN_KEYS, "login-keys").await?;
        let knows = async || Ok(gateway.replica.log()?.contains("is not among the login keys any more"));
        wait::until("the gateway says that the password can't be had", knows).await?;
        namespace.change("desktop", json!({ "suspend": true })).await?;
        wait_gone(&namespace.pods, "vdi-desktop").await?;
        namespace.change("desktop", json!({ "suspend": false })).await?;
        namespace.wait_running("desktop").await?;
        ensure!(password(&namespace).await? != before);
        ensure_open(site, &namespace, &[&gateway]).await
    })
}

#[test]
fn login_keys_from_a_file_open_the_same_desktops() -> Result<()> {
    with_site(async |site, _alone| {
        let file = tempfile::NamedTempFile::new()?;
        let keys = site.value(LOGIN_KEYS, "login-keys").await?;
        std::fs::write(file.path(), format!("{}\n{keys}\n", "0123456789abcdef".repeat(2)))?;
        let flags = ["--login-keys-file", &file.path().display().to_string()];
        let gateway = site.fixture.gateway("gateway-file", site.fixture.public_port, &flags).await?;
        let namespace = with_password(site, "secrets-file").await?;
        ensure_open(site, &namespace, &[&gateway]).await
    })
}

#[test]
fn a_gateway_says_once_why_it_cannot_use_a_secret_and_goes_on_once_it_can() -> Result<()> {
    with_site(async |site, _alone| {
        let port = vdi_cluster::free_port()?;
        let flags = ["--login-keys-secret", "site-keys"].map(str::to_owned).to_vec();
        let launch = GatewayLaunch { name: "gateway-waiting", port, public_port: port, flags };
        let mut gateway = Gateway::launch(&site.fixture.stack, &program("vdi-gateway"), launch)?;
        let forbidden = r#"secrets "site-keys" is forbidden: User "system:serviceaccount:vdiwarden-system:vdi-gateway" cannot list resource "secrets""#;
        gateway.wait_until_waiting(forbidden).await?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            // Not counting where it is said behind news, such as that browsers are served.
            ensure!(gateway.logged_times("\"waiting for the Secret site-keys")? == 1, "{}", gateway.log()?);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let (_, status) = http::get(gateway.address().await?, "/healthz").await?;
        ensure!(status == "ok\n", "{status}");

        // A Secret of the site's own, with a mistake.
        let secret = json!({ "metadata": { "name": "site-keys" }, "stringData": { "login-keys": "too-short" } });
        let secrets = site.secrets();
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        let role = [
            "create",
            "role",
            "site-keys",
            "-n",
            SYSTEM,
            "--verb=list,watch",
            "--resource=secrets",
            "--resource-name=site-keys",
        ];
        site.fixture.stack.kubectl_ok(&User::admin(), role).await?;
        let binding = [
            "create",
            "rolebinding",
            "site-keys",
            "-n",
            SYSTEM,
            "--role=site-keys",
            "--serviceaccount=vdiwarden-system:vdi-gateway",
        ];
        site.fixture.stack.kubectl_ok(&User::admin(), binding).await?;
        gateway
            .wait_until_waiting(
                "the key login-keys of the Secret site-keys can't be used: key 1 has fewer than 32 characters",
            )
            .await?;
        ensure!(!gateway.log()?.contains("too-short"), "its content is in the log");

        let change = async |data: Value| {
            secrets.patch("site-keys", &PatchParams::default(), &Patch::Merge(json!({ "data": data }))).await
        };
        change(json!({ "login-keys": null })).await?;
        gateway.wait_until_waiting("the key login-keys of the Secret site-keys is missing").await?;
        change(json!({ "login-keys": "//8=" })).await?;
        gateway.wait_until_waiting("the key login-keys of the Secret site-keys is not text").await?;
        change(json!({ "login-keys": STANDARD.encode("0123456789abcdef".repeat(2)) })).await?;
        gateway.wait_until_ready().await?;
        // What is wrong later doesn't stop a program that has keys.
        change(json!({ "login-keys": "" })).await?;
        let says = async || Ok(gateway.logged_times("going on with what is known of the Secret site-keys")? == 1);
        wait::until("the gateway says that it goes on", says).await?;
        ensure!(http::get(gateway.address().await?, "/readyz").await?.0 == 200);
        ensure!(gateway.stop()?.success());
        Ok(())
    })
}

#[test]
fn the_controller_creates_these_secrets_in_its_namespace_and_no_others() -> Result<()> {
    with_site(async |site, _alone| {
        let client = site.fixture.stack.cluster.client(&controller()).await?;
        let secrets = Api::<Secret>::namespaced(client.clone(), SYSTEM);
        let secret = |name: &str, type_: &str| {
            let annotations = json!({ "kubernetes.io/service-account.name": "vdi-gateway" });
            let labels = json!({ "app.kubernetes.io/managed-by": "vdiwarden" });
            let metadata = json!({ "name": name, "annotations": annotations, "labels": labels });
            serde_json::from_value::<Secret>(json!({ "metadata": metadata, "type": type_, "data": { "token": "" } }))
        };
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        for (name, type_) in [
            ("vdi-other", "Opaque"),
            // Kubernetes would fill it with a token of the gateway's.
            (LOGIN_KEYS, "kubernetes.io/service-account-token"),
            ("vdi-other", "kubernetes.io/service-account-token"),
        ] {
            let refused = secrets.create(&dry_run, &secret(name, type_)?).await;
            let is_floor =
                |error: &kube::Error| error.to_string().contains("ValidatingAdmissionPolicy 'vdi-controller'");
            ensure!(refused.as_ref().is_err_and(is_floor), "{name}, {type_}: {refused:?}");
        }
        let elsewhere = TestNamespace::new(&site.fixture.stack, "secrets-elsewhere").await?;
        let theirs = Api::<Secret>::namespaced(client.clone(), &elsewhere.name);
        ensure!(theirs.create(&dry_run, &secret(LOGIN_KEYS, "Opaque")?).await.is_err());
        // Asked on its behalf: a refused request of its own would count as a right that it lacks.
        let account = controller().name;
        for (namespace, name) in [(SYSTEM, "vdi-gateway-keys"), (&elsewhere.name, "vdi-password")] {
            let secret = format!("secret/{name}");
            for verb in ["get", "watch", "update"] {
                let ask = ["auth", "can-i", verb, &secret, "--namespace", namespace, "--as", &account];
                let answer = site.fixture.stack.kubectl(&User::admin(), ask).await?.stdout;
                ensure!(answer == b"no\n", "may it {verb} {namespace}/{name}? {}", String::from_utf8_lossy(&answer));
            }
        }
        Ok(())
    })
}
