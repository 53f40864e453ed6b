//! Several replicas of the controller, its settings, and what it tells those who run it, on a real API server.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, routing::post};
use futures::future::try_join_all;
use jiff::Timestamp;
use kube::Api;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::Span,
};
use prost::Message;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Mutex};
use vdi_api::{VDISession, VDITemplate};
use vdi_cluster::SimulatedNodes;
use vdi_tests::{
    audit,
    faults::invariants::miscounted,
    http,
    objects::{Space, create, session},
    shared::{Shared, directory},
    stack::{self, Replica, Settings, Stack, controller},
    workspace,
};

/// How long a replica may take for what takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stack whose controllers each test starts itself. They all work on the same sessions, so only one test at a time.
fn with_stack(test: impl AsyncFnOnce(&'static Stack) -> Result<()>) -> Result<()> {
    static STACK: Shared<(Stack, SimulatedNodes)> = Shared::new();
    static ONE: Mutex<()> = Mutex::const_new(());
    STACK.with(start, async |(stack, _)| {
        let _one = ONE.lock().await;
        test(stack).await
    })
}

async fn start() -> Result<(Stack, SimulatedNodes)> {
    let mut stack = Stack::start(&directory(), Settings::default()).await?;
    stack.stop_controller()?;
    let nodes = SimulatedNodes::start(&stack.cluster, 3, 32).await?;
    Ok((stack, nodes))
}

async fn metrics(replica: &mut Replica) -> Result<String> {
    let (status, page) = http::get(replica.address().await?, "/metrics").await?;
    ensure!(status == 200, "{status}: {page}");
    Ok(page)
}

async fn wait_until_leading(replica: &mut Replica) -> Result<()> {
    let began = Instant::now();
    while !metrics(replica).await?.contains("\nvdi_controller_leader 1\n") {
        ensure!(began.elapsed() < PATIENCE, "does not lead: {}", replica.log()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn wait_until_ready(replica: &mut Replica) -> Result<()> {
    let began = Instant::now();
    while http::get(replica.address().await?, "/readyz").await?.0 != 200 {
        ensure!(began.elapsed() < PATIENCE, "is not ready: {}", replica.log()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A leader, and a standby that has read everything.
async fn leader_and_standby(stack: &Stack) -> Result<(Replica, Replica)> {
    let mut leader = stack.start_replica("replica-a", &[])?;
    wait_until_leading(&mut leader).await?;
    let mut standby = stack.start_replica("replica-b", &[])?;
    wait_until_ready(&mut standby).await?;
    ensure!(metrics(&mut standby).await?.contains("\nvdi_controller_leader 0\n"), "there are two leaders");
    Ok((leader, standby))
}

/// When and what a replica wrote with success, besides leases.
fn writes(stack: &Stack, identity: &str) -> Result<Vec<(Timestamp, String)>> {
    let mut writes = Vec::new();
    for event in audit::events(&stack.cluster.audit_log(), &controller())? {
        let is_its_own = event["userAgent"].as_str().is_some_and(|agent| agent.ends_with(&format!("({identity})")));
        let is_write = !matches!(event["verb"].as_str(), Some("get" | "list" | "watch"));
        let has_happened = event["responseStatus"]["code"].as_i64().is_some_and(|code| code < 300);
        if is_its_own && is_write && has_happened && event["objectRef"]["resource"] != "leases" {
            let when = event["stageTimestamp"].as_str().context("no time")?.parse()?;
            writes.push((when, audit::request(&event)));
        }
    }
    Ok(writes)
}

fn signal(name: &str, process: u64) -> Result<()> {
    let status = Command::new("kill").args([format!("-{name}"), process.to_string()]).status()?;
    ensure!(status.success(), "kill: {status}");
    Ok(())
}

/// How long it took until another replica wrote something, from `began` on.
async fn first_write(stack: &Stack, identity: &str, began: Timestamp) -> Result<Duration> {
    let waiting = Instant::now();
    loop {
        if let Some((when, _)) = writes(stack, identity)?.first() {
            return Ok(when.duration_since(began).try_into()?);
        }
        ensure!(waiting.elapsed() < PATIENCE, "{identity} writes nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn when_the_leader_is_killed_the_standby_goes_on_within_15_seconds() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "killed-leader").await?;
        space.template(json!({})).await?;
        let (leader, mut standby) = leader_and_standby(stack).await?;
        space.session("before").await?;
        space.wait_running("before").await?;

        let killed = Timestamp::now();
        leader.kill()?;
        space.session("after").await?;
        let took = first_write(stack, &standby.identity().await?, killed).await?;
        eprintln!("failover after kill -9: {:.1} s", took.as_secs_f64());
        ensure!(took < Duration::from_secs(15), "took {took:?}");
        space.wait_running("after").await?;
        ensure!(standby.stop()?.success());
        Ok(())
    })
}

#[test]
fn when_the_leader_is_asked_to_stop_the_standby_goes_on_at_once() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "stopped-leader").await?;
        space.template(json!({})).await?;
        let (leader, mut standby) = leader_and_standby(stack).await?;
        space.session("before").await?;
        space.wait_running("before").await?;

        let stopped = Timestamp::now();
        ensure!(leader.stop()?.success());
        space.session("after").await?;
        let took = first_write(stack, &standby.identity().await?, stopped).await?;
        eprintln!("handover after SIGTERM: {:.2} s", took.as_secs_f64());
        ensure!(took < Duration::from_secs(3), "took {took:?}");
        space.wait_running("after").await?;
        ensure!(standby.stop()?.success());
        Ok(())
    })
}

/// It is stopped amid its work, and wakes up when another has taken over, with all its work before it.
#[test]
fn a_leader_that_was_deposed_while_it_was_stopped_writes_nothing_and_ends() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "deposed-leader").await?;
        space.template(json!({})).await?;
        let (mut leader, mut standby) = leader_and_standby(stack).await?;
        let (old, process) = (leader.identity().await?, leader.process().await?);
        let new = standby.identity().await?;
        let names: Vec<String> = (0..20).map(|n| format!("desktop-{n}")).collect();
        let sessions: Vec<_> = names.iter().map(|name| session(name, &space.name)).collect();
        try_join_all(sessions.iter().map(|session| create(&space.sessions, session))).await?;

        let stopped = Timestamp::now();
        signal("STOP", process)?;
        // What it has to work on when it wakes up.
        let wait = first_write(stack, &new, stopped).await?;
        for name in &names[..10] {
            space.sessions.delete(name, &Default::default()).await?;
        }
        space.session("later").await?;
        let took_over = stopped + wait;
        signal("CONT", process)?;
        let began = Instant::now();
        while leader.check().is_ok() {
            ensure!(began.elapsed() < PATIENCE, "it goes on: {}", leader.log()?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let log = leader.log()?;
        ensure!(!leader.stop()?.success(), "its end is an error");
        eprintln!("refused by its own fence: {}", log.matches("not written: this replica is not the leader").count());
        ensure!(log.contains(&format!("lost lease vdiwarden-system/vdi-controller, which {new} has now")), "{log}");
        for name in names[10..].iter().map(String::as_str).chain(["later"]) {
            space.wait_running(name).await?;
        }
        let late: Vec<_> = writes(stack, &old)?.into_iter().filter(|(when, _)| *when >= took_over).collect();
        ensure!(late.is_empty(), "after {new} took over at {took_over}, {old} wrote {late:?}");
        ensure!(standby.stop()?.success());
        Ok(())
    })
}

/// A mistake that must not cost more than requests.
#[test]
fn two_controllers_without_leader_election_make_no_pod_twice() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "two-leaders").await?;
        space.template(json!({})).await?;
        let alone = ["--leader-elect=false".to_owned()];
        let mut replicas = [stack.start_replica("replica-a", &alone)?, stack.start_replica("replica-b", &alone)?];
        for replica in &mut replicas {
            wait_until_leading(replica).await?;
        }
        let names: Vec<String> = (0..30).map(|n| format!("desktop-{n}")).collect();
        let sessions: Vec<_> = names.iter().map(|name| session(name, &space.name)).collect();
        try_join_all(sessions.iter().map(|session| create(&space.sessions, session))).await?;
        for name in &names {
            space.wait_running(name).await?;
        }
        let mut done = HashMap::<String, usize>::new();
        for event in audit::events(&stack.cluster.audit_log(), &controller())? {
            let object = &event["objectRef"];
            if object["namespace"] == *space.name && event["responseStatus"]["code"].as_i64() < Some(300) {
                *done.entry(audit::request(&event)).or_default() += 1;
            }
        }
        ensure!(done.get("create pods") == Some(&names.len()), "{done:?}");
        ensure!(done.get("patch vdisessions/status") <= Some(&(2 * names.len())), "{done:?}");
        for replica in replicas {
            ensure!(replica.stop()?.success());
        }
        Ok(())
    })
}

#[test]
fn idle_replicas_ask_for_nothing_but_the_lease_and_without_leader_election_for_nothing() -> Result<()> {
    with_stack(async |stack| {
        let (leader, standby) = leader_and_standby(stack).await?;
        let asked = asked_in(stack, Duration::from_secs(8)).await?;
        ensure!(
            asked.keys().all(|request| request == "update leases") && asked.values().sum::<usize>() <= 5,
            "{asked:?}"
        );
        ensure!(standby.stop()?.success() && leader.stop()?.success());

        let mut alone = stack.start_replica("replica-a", &["--leader-elect=false".to_owned()])?;
        wait_until_ready(&mut alone).await?;
        let asked = asked_in(stack, Duration::from_secs(4)).await?;
        ensure!(asked.is_empty(), "{asked:?}");
        ensure!(alone.stop()?.success());
        Ok(())
    })
}

/// What the controllers ask for in a while to come, once all is told and after a moment for what is still going on.
async fn asked_in(stack: &Stack, time: Duration) -> Result<audit::Requests> {
    wait_until_counted(stack).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let began = Timestamp::now();
    tokio::time::sleep(time).await;
    let mut asked = audit::Requests::new();
    for event in audit::events(&stack.cluster.audit_log(), &controller())? {
        // A watch is logged once more when it ends.
        let received: Timestamp = event["requestReceivedTimestamp"].as_str().context("no time")?.parse()?;
        if received >= began {
            *asked.entry(audit::request(&event)).or_default() += 1;
        }
    }
    Ok(asked)
}

async fn wait_until_counted(stack: &Stack) -> Result<()> {
    let templates: Api<VDITemplate> = Api::all(stack.cluster.admin());
    let sessions: Api<VDISession> = Api::all(stack.cluster.admin());
    let began = Instant::now();
    loop {
        let sessions = sessions.list(&Default::default()).await?.items;
        let wrong = miscounted(&templates.list(&Default::default()).await?.items, &sessions);
        if wrong.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{wrong:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a controller says that has no cluster to talk to: first of all, its settings.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(stack::controller_program());
    command.args(arguments).env("KUBECONFIG", "/nowhere").envs(environment.iter().copied());
    Ok(command.output()?)
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default() -> Result<()> {
    stack::build_controller()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "domain: from.file\nlease-name: from-file\nconcurrency: 3\n")?;
    let file = file.to_str().context("the path is not UTF-8")?;
    let environment =
        [("VDI_CONFIG", file), ("VDI_DOMAIN", "from.environment"), ("VDI_LEASE_NAME", "from-environment")];
    let output = run(&["--domain=from.flag"], &environment)?;
    let log = String::from_utf8(output.stderr)?;
    for setting in
        [r#"domain: \"from.flag\""#, r#"lease_name: \"from-environment\""#, "concurrency: 3", "log: \\\"info"]
    {
        ensure!(log.contains(setting), "{setting}: {log}");
    }

    std::fs::write(file, "lease-nam: x\n")?;
    let output = run(&[], &environment)?;
    let message = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2), "{}", output.status);
    ensure!(message.contains(r#"config.yaml: there is no setting "lease-nam"; is it "lease-name"?"#), "{message}");
    Ok(())
}

#[test]
fn the_help_has_every_setting_of_the_docs() -> Result<()> {
    stack::build_controller()?;
    let help = String::from_utf8(run(&["--help"], &[])?.stdout)?;
    let docs = std::fs::read_to_string(workspace().join("docs/operations.md"))?;
    let rows: Vec<Vec<&str>> = docs
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .map(|row| row.split('`').skip(1).step_by(2).collect())
        .collect();
    ensure!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        let (flag, variable) = (row[0], row[1]);
        ensure!(help.contains(flag) && help.contains(&format!("[env: {variable}=]")), "{flag}, {variable}: {help}");
    }
    Ok(())
}

/// Each metric of a page, with the names of its labels.
fn served(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics = BTreeMap::<String, BTreeSet<String>>::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
        let labels = rest.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        metrics.entry(name.to_owned()).or_default().extend(labels);
    }
    metrics
}

/// Every query of a dashboard and of alerts, wherever it is.
fn queries<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(["expr", "query"].iter().filter_map(|key| fields.get(*key)?.as_str()));
            fields.values().for_each(|value| queries(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

/// What Prometheus adds to every metric that it scrapes.
const SCRAPED: [&str; 3] = ["instance", "job", "namespace"];

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_and_labels_that_there_are() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "monitoring").await?;
        space.template(json!({})).await?;
        let mut replica = stack.start_replica("replica-a", &[])?;
        space.session("desktop").await?;
        space.wait_running("desktop").await?;
        let page = metrics(&mut replica).await?;
        for line in [
            "vdi_controller_sessions{template=\"monitoring\",phase=\"Running\"} 1",
            "vdi_controller_gpus_requested{template=\"monitoring\"} 1",
            "vdi_controller_gpus_in_use{template=\"monitoring\"} 1",
            "vdi_controller_session_start_seconds_count{template=\"monitoring\"} 1",
            "vdi_controller_api_requests_total{verb=\"create\",resource=\"pods\",code=\"2xx\"}",
            "vdi_controller_errors_total{kind=\"apply\"} 0",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
        ] {
            ensure!(page.contains(&format!("\n{line}")), "no {line} in {page}");
        }
        ensure!(page.ends_with("# EOF\n"), "{page}");

        let served = served(&page);
        let docs = std::fs::read_to_string(workspace().join("docs/operations.md"))?;
        for (name, labels) in &served {
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let row = docs.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.with_context(|| format!("docs/operations.md lacks {name}"))?;
            let lacking = labels.iter().find(|label| *label != "le" && !row.contains(&format!("`{label}`")));
            ensure!(lacking.is_none(), "docs/operations.md lacks {lacking:?} of {name}");
        }
        let folder = workspace().join("deploy/monitoring");
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("dashboard.json"))?)?;
        let alerts: Value = serde_saphyr::from_str(&std::fs::read_to_string(folder.join("alerts.yaml"))?)?;
        let mut all = Vec::new();
        queries(&dashboard, &mut all);
        queries(&alerts, &mut all);
        ensure!(all.len() > 20, "{all:?}");
        let metric = regex::Regex::new(r"\b(?:vdi_controller|process)_\w+")?;
        let label = regex::Regex::new(r"[{,]\s*(\w+)\s*(?:=|!=|=~|!~)\s*.")?;
        let grouping = regex::Regex::new(r"\b(?:by|on) \(([^)]*)\)")?;
        for query in all {
            let names: Vec<&str> = metric.find_iter(query).map(|found| found.as_str()).collect();
            for name in &names {
                ensure!(served.contains_key(*name), "{name} of {query} is not served: {served:#?}");
            }
            let grouped = grouping.captures_iter(query).flat_map(|found| found.extract::<1>().1[0].split(", "));
            let labels = label.captures_iter(query).map(|found| found.extract::<1>().1[0]).chain(grouped);
            for label in labels {
                let is_served = names.iter().any(|name| served[*name].contains(label));
                ensure!(is_served || SCRAPED.contains(&label), "{query}: nothing has the label {label}: {served:#?}");
            }
        }
        for rule in alerts["spec"]["groups"][0]["rules"].as_array().context("no rules")? {
            for text in ["summary", "description"] {
                ensure!(rule["annotations"][text].as_str().is_some_and(|text| !text.is_empty()), "{rule}");
            }
        }
        ensure!(replica.stop()?.success());
        Ok(())
    })
}

/// A collector that keeps what it is sent.
async fn collector() -> Result<(SocketAddr, Arc<std::sync::Mutex<Vec<Span>>>)> {
    let spans = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = spans.clone();
    let receive = post(async move |body: Bytes| {
        let request = ExportTraceServiceRequest::decode(body).expect("an OTLP request");
        let spans = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        kept.lock().expect("no panic").extend(spans.flat_map(|scope| scope.spans));
        Bytes::new()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, Router::new().route("/v1/traces", receive)).into_future());
    Ok((address, spans))
}

fn attribute(span: &Span, key: &str) -> Option<any_value::Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

#[test]
fn a_pass_is_a_span_with_its_requests_in_it() -> Result<()> {
    with_stack(async |stack| {
        let space = Space::new(stack, "traced").await?;
        space.template(json!({})).await?;
        let (address, spans) = collector().await?;
        let replica = stack.start_replica("replica-a", &[format!("--otlp-endpoint=http://{address}")])?;
        space.session("desktop").await?;
        space.wait_running("desktop").await?;
        ensure!(replica.stop()?.success());

        let spans = spans.lock().expect("no panic");
        let text = |text: &str| Some(any_value::Value::StringValue(text.to_owned()));
        let passes: Vec<&Span> = spans.iter().filter(|span| span.name == "reconcile").collect();
        let has = |span: &&&Span, key, value| attribute(span, key) == text(value);
        let passes: Vec<_> = passes.iter().filter(|span| has(span, "k8s.namespace.name", "traced")).collect();
        ensure!(!passes.is_empty() && passes.iter().all(|span| has(span, "vdi.session", "desktop")), "{spans:#?}");
        ensure!(passes.iter().all(|span| has(span, "outcome", "ok")), "{passes:#?}");
        for (request, code) in [("create pods", 201), ("patch vdisessions/status", 200)] {
            let request = spans
                .iter()
                .find(|span| span.name == request && passes.iter().any(|pass| pass.span_id == span.parent_span_id));
            let request = request.with_context(|| format!("no such request in a pass: {spans:#?}"))?;
            let found = attribute(request, "http.response.status_code");
            ensure!(found == Some(any_value::Value::IntValue(code)), "{request:#?}");
        }
        Ok(())
    })
}
