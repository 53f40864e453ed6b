//! What the programs of one release write and those of another read: pods' labels and annotations, sessions' statuses, the report of
//! last input, Secrets, the leader's Lease. docs/operations.md describes it.
//!
//! `formats/` in tests/last-release has it as the last release wrote it. Today's programs may write more, never less; tests in their
//! crates hold that each still reads it. `UPDATE_LAST_RELEASE=1` records it anew, after a release. What is derived (`login.json`,
//! `tokens.json`, `homes.json`) is compared in the crates, and replaced by hand when its format has changed.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kube::{Api, ResourceExt};
use regex::Regex;
use serde_json::{Map, Value, json};
use vdi_api::desktop_pod;
use vdi_service::LoginKeys;
use vdi_tests::{
    fixture::Fixture,
    gateway::{DOMAIN, Gateway},
    http,
    installation::NAMESPACE,
    shared::directory,
    stack::alice,
    test_namespace::TestNamespace,
    visitor::Visitor,
    wait,
};

use crate::releases::last_release;

const TOKEN: &str = "vdi-activity-token";

fn recorded(name: &str) -> Result<Value> {
    let path = last_release().join("formats").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// Compares what is written today with what the last release wrote.
fn check(name: &str, today: &Value) -> Result<()> {
    if std::env::var_os("UPDATE_LAST_RELEASE").is_some() {
        let path = last_release().join("formats").join(name);
        return Ok(std::fs::write(path, serde_json::to_string_pretty(today)? + "\n")?);
    }
    let mut missing = Vec::new();
    includes("", &recorded(name)?, today, &mut missing);
    ensure!(
        missing.is_empty(),
        "{name}: programs of the last release read what is no longer written. They run beside today's during an upgrade, and after a \
         rollback: write it for another release.\n{}\ntoday: {today:#}",
        missing.join("\n")
    );
    Ok(())
}

/// Adds what `today` lacks of `last`.
fn includes(path: &str, last: &Value, today: &Value, missing: &mut Vec<String>) {
    match (last, today) {
        (Value::Object(last), Value::Object(today)) => {
            for (name, value) in last {
                includes(&format!("{path}.{name}"), value, today.get(name).unwrap_or(&Value::Null), missing);
            }
        }
        (Value::Array(last), Value::Array(today)) => {
            let is_in = |last: &Value, today: &Value| {
                let mut missing = Vec::new();
                includes("", last, today, &mut missing);
                missing.is_empty()
            };
            let gone = last.iter().filter(|last| !today.iter().any(|today| is_in(last, today)));
            missing.extend(gone.map(|gone| format!("{path}[]: {gone}")));
        }
        _ if last == today => {}
        _ => missing.push(format!("{path}: was {last}, and is {today}")),
    }
}

#[test]
fn what_is_no_longer_written_or_is_written_differently_is_found() {
    let last = json!({ "a": { "b": 1, "c": [{ "d": "x" }, { "d": "y" }] } });
    for (today, expected) in [
        (json!({ "a": { "b": 1, "c": [{ "d": "y", "new": 1 }, { "d": "x" }, 7], "new": 2 } }), &[][..]),
        (json!({ "a": { "b": "1", "c": [{ "d": "y" }, { "d": "x" }] } }), &[".a.b: was 1, and is \"1\""]),
        (json!({ "a": { "c": [{ "d": "y" }] } }), &[".a.b: was 1, and is null", ".a.c[]: {\"d\":\"x\"}"]),
    ] {
        let mut missing = Vec::new();
        includes("", &last, &today, &mut missing);
        assert_eq!(missing, expected);
    }
}

/// Replaces what differs each time by what is recorded.
struct Stable(Vec<(Regex, String)>);

impl Stable {
    fn new(pairs: &[(&str, &str)]) -> Result<Self> {
        let mut all =
            vec![(Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")?, "2026-01-01T12:00:00Z".to_owned())];
        for (text, constant) in pairs {
            all.push((Regex::new(&regex::escape(text))?, (*constant).to_owned()));
        }
        Ok(Self(all))
    }

    fn of(&self, value: &Value) -> Result<Value> {
        let text = self
            .0
            .iter()
            .fold(value.to_string(), |text, (pattern, constant)| pattern.replace_all(&text, constant).into_owned());
        Ok(serde_json::from_str(&text)?)
    }
}

/// These fields of an object.
fn parts(object: &Value, pointers: &[&str]) -> Value {
    let mut parts = json!({});
    for pointer in pointers {
        let mut place = &mut parts;
        for name in pointer.split('/').skip(1) {
            place = &mut place[name];
        }
        *place = object.pointer(pointer).cloned().unwrap_or_default();
    }
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_of_the_last_release_read_is_still_written() -> Result<()> {
    let folder = directory().with_file_name("compatibility-formats");
    let fixture = Fixture::with_controller(&folder, &["--activity-token-secret", TOKEN], Vec::new()).await?;
    let gateway = fixture.gateway("gateway", fixture.public_port, &["--activity-token-secret", TOKEN]).await?;
    let namespace = TestNamespace::new(&fixture.stack, "formats").await?;
    // Everything that is written on a pod. Nothing answers at that port, but the pod counts as ready.
    let template = json!({
        "port": 6901, "protocol": "https", "path": "/vnc.html", "activity": "selkies", "logInStatus": true,
        "idleTimeout": "30m", "maxTimeout": "12h", "startDeadline": "10m", "failedRetention": "2h",
        "basicAuth": { "user": "desk", "passwordEnv": "PASSWORD" },
        "home": { "mountPath": "/home/user" }, "gpu": { "resourceName": "nvidia.com/gpu", "rendererPath": "/renderer" },
    });
    namespace.template(template).await?;
    let session = namespace.session(SESSION).await?;
    let uid = session.metadata.uid.context("no uid")?;
    namespace.wait_running(SESSION).await?;

    let secrets: Api<Secret> = Api::namespaced(fixture.stack.cluster.admin(), NAMESPACE);
    let value = async |name: &str, key: &str| -> Result<String> {
        let data = secrets.get(name).await?.data.unwrap_or_default();
        Ok(String::from_utf8(data.get(key).with_context(|| format!("{name} has no {key}"))?.0.clone())?)
    };
    let keys: LoginKeys = value("vdi-login-keys", "login-keys").await?.parse()?;
    let key = keys.newest().context("no key")?;
    let login = recorded("login.json")?;
    let pod = namespace.pods.get(&desktop_pod::pod_name(SESSION)).await?;
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("no address")?;
    let stable = Stable::new(&[
        (&uid, login["uid"].as_str().context("no uid")?),
        (key.name(), login["name"].as_str().context("no name")?),
        (&ip, "10.1.2.3"),
        (&format!("{DOMAIN}:{}", fixture.public_port), "vdi.example.com"),
    ])?;

    let pod = parts(
        &serde_json::to_value(pod)?,
        &[
            "/metadata/name",
            "/metadata/namespace",
            "/metadata/labels",
            "/metadata/annotations",
            "/metadata/ownerReferences",
            "/status/podIP",
        ],
    );
    let mut pod = stable.of(&pod)?;
    pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
    check("pod.json", &pod)?;

    let mut session = serde_json::to_value(namespace.sessions.get(SESSION).await?)?;
    // Of the conditions, gateways read Ready. Its message is for people.
    let conditions = session["status"]["conditions"].as_array_mut().context("no conditions")?;
    conditions.retain(|condition| condition["type"] == "Ready");
    conditions[0].as_object_mut().context("no condition")?.remove("message");
    let fields = ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace", "/metadata/uid", "/spec", "/status"];
    check("session.json", &stable.of(&parts(&session, &fields))?)?;

    let mut answer = report(&fixture, &gateway, &value(TOKEN, "token").await?, &uid).await?;
    answer["lastInput"][&uid] = json!(1.5);
    check("activity.json", &stable.of(&answer)?)?;

    let mut all = Map::new();
    let hex = Regex::new("^[0-9a-f]{64}$")?;
    let id = Regex::new(r"^\d{8}T\d{6}Z-[0-9a-f]{8}$")?;
    for name in ["vdi-activity-token", "vdi-gateway-keys", "vdi-login-keys"] {
        let secret = secrets.get(name).await?;
        let data = secret.data.iter().flatten().map(|(key, value)| {
            let form =
                if hex.is_match(&String::from_utf8_lossy(&value.0)) { "64 hexadecimal digits" } else { "binary" };
            (id.replace(key, "20260101T120000Z-1f2e3d4c").into_owned(), json!(form))
        });
        all.insert(name.to_owned(), json!({ "type": secret.type_, "data": data.collect::<Map<_, _>>() }));
    }
    check("secrets.json", &all.into())?;
    let leases: Api<Lease> = Api::namespaced(fixture.stack.cluster.admin(), NAMESPACE);
    let lease = serde_json::to_value(leases.get("vdi-controller").await?)?;
    let holder = lease["spec"]["holderIdentity"].as_str().context("no holder")?;
    let fields = ["/metadata/name", "/spec/holderIdentity", "/spec/leaseDurationSeconds", "/spec/renewTime"];
    check("lease.json", &Stable::new(&[(holder, "a replica")])?.of(&parts(&lease, &fields))?)?;

    let own: Api<Secret> = Api::namespaced(fixture.stack.cluster.admin(), &namespace.name);
    let login = own.get(&format!("vdi-login-{uid}-{}", key.name())).await?;
    let password = login.data.as_ref().and_then(|data| data.get("password")).context("no password")?;
    ensure!(password.0 == key.password(&uid).into_bytes(), "the gateway would send another password");
    ensure!(login.owner_references().len() == 1);
    Ok(())
}

const SESSION: &str = "desktop";

/// What the gateway tells the controller once there was input.
async fn report(fixture: &Fixture, gateway: &Gateway, token: &str, uid: &str) -> Result<Value> {
    let (mut visitor, host) = Visitor::enter(gateway, &fixture.stack, &alice(), "formats", SESSION).await?;
    wait::until("the desktop can be used", async || {
        Ok(visitor.post(gateway, &host, "/.vdi/stay", "").await?.status == 200)
    })
    .await?;
    let log = gateway.replica.log()?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let address = lines.filter_map(|line| line["operations"].as_str().map(str::to_owned)).next();
    let address = address.context("no address")?.parse()?;
    let (status, answer) = http::get_with_token(address, "/activity", token).await?;
    ensure!(status == 200, "{status}: {answer}");
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(answer["lastInput"][uid].is_f64(), "{answer}");
    Ok(answer)
}
