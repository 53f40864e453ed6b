//! Operating the controller: its settings, metrics and traces.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::{Command, Output},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::Span,
};
use prost::Message;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Duration, Instant, sleep},
};
use vdi_tests::{
    gateway::{DOMAIN, Gateway, GatewayLaunch},
    shared::with_stack_alone,
    stack::{self, Stack},
    test_namespace::TestNamespace,
    visitor::Visitor,
    workspace,
};

/// Runs a controller without a cluster. It logs its settings before it fails.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(stack::program("vdi-controller"));
    command.args(arguments).env("KUBECONFIG", "/nowhere").envs(environment.iter().copied());
    Ok(command.output()?)
}

#[test]
fn a_flag_overrides_the_environment_which_overrides_the_file_which_overrides_the_default() -> Result<()> {
    stack::build()?;
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
    ensure!(message.contains(r#"config.yaml: unknown setting "lease-nam"; did you mean "lease-name"?"#), "{message}");
    Ok(())
}

#[test]
fn the_help_lists_every_setting_in_the_docs() -> Result<()> {
    stack::build()?;
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

/// The metrics on a page, each with the names of its labels.
fn metrics_on(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics = BTreeMap::<String, BTreeSet<String>>::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
        let labels = rest.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        metrics.entry(name.to_owned()).or_default().extend(labels);
    }
    metrics
}

/// The metrics of a gateway that has refused a visitor.
async fn gateway_metrics(stack: &Stack) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let port = vdi_cluster::free_port()?;
    let launch = GatewayLaunch { name: "gateway-monitored", port, public_port: port, flags: Vec::new() };
    let mut gateway = Gateway::start(stack, launch).await?;
    ensure!(Visitor::default().get(&gateway, &format!("nobody.{DOMAIN}"), "/").await?.status == 401);
    Ok(metrics_on(&gateway.replica.metrics().await?))
}

fn ensure_documented(served: &BTreeMap<String, BTreeSet<String>>, file: &str) -> Result<()> {
    let docs = std::fs::read_to_string(workspace().join(file))?;
    for (name, labels) in served {
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.with_context(|| format!("{file} lacks {name}"))?;
        let lacking = labels.iter().find(|label| *label != "le" && !row.contains(&format!("`{label}`")));
        ensure!(lacking.is_none(), "{file} lacks {lacking:?} of {name}");
    }
    Ok(())
}

/// Collects the queries of a dashboard or of alerts, at any depth.
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

/// The labels that Prometheus adds to every metric that it scrapes.
const SCRAPED: [&str; 3] = ["instance", "job", "namespace"];

#[test]
fn the_dashboard_and_the_alerts_query_only_metrics_and_labels_that_exist() -> Result<()> {
    with_stack_alone(async |stack| {
        let namespace = TestNamespace::new(stack, "monitoring").await?;
        namespace.template(json!({})).await?;
        let mut replica = stack.start_replica("replica-a", &[])?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let mut page = replica.metrics().await?;
        // Counted when the write returns to the controller, while others see its effect a moment earlier.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !page.contains("vdi_controller_session_start_seconds_count{") && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
            page = replica.metrics().await?;
        }
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

        let mut served = metrics_on(&page);
        ensure_documented(&served, "docs/operations.md")?;
        let from_gateway = gateway_metrics(stack).await?;
        ensure_documented(&from_gateway, "docs/gateway.md")?;
        served.extend(from_gateway);
        let folder = workspace().join("deploy/chart/vdiwarden/files");
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("dashboard.json"))?)?;
        let alerts: Value = serde_saphyr::from_str(&std::fs::read_to_string(folder.join("alerts.yaml"))?)?;
        let mut all = Vec::new();
        queries(&dashboard, &mut all);
        queries(&alerts, &mut all);
        ensure!(all.len() > 20, "{all:?}");
        let metric = regex::Regex::new(r"\b(?:vdi_controller|vdi_gateway|process)_\w+")?;
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
        let groups = alerts["groups"].as_array().context("no groups")?;
        for rule in groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()) {
            for text in ["summary", "description"] {
                ensure!(rule["annotations"][text].as_str().is_some_and(|text| !text.is_empty()), "{rule}");
            }
        }
        ensure!(replica.stop()?.success());
        Ok(())
    })
}

/// An OTLP collector that keeps the spans that it receives.
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
fn a_reconcile_is_a_span_that_contains_its_requests() -> Result<()> {
    with_stack_alone(async |stack| {
        let namespace = TestNamespace::new(stack, "traced").await?;
        namespace.template(json!({})).await?;
        let (address, spans) = collector().await?;
        let replica = stack.start_replica("replica-a", &[format!("--otlp-endpoint=http://{address}")])?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        ensure!(replica.stop()?.success());

        let spans = spans.lock().expect("no panic");
        let text = |text: &str| Some(any_value::Value::StringValue(text.to_owned()));
        let reconciles: Vec<&Span> = spans.iter().filter(|span| span.name == "reconcile").collect();
        let has = |span: &&&Span, key, value| attribute(span, key) == text(value);
        let reconciles: Vec<_> = reconciles.iter().filter(|span| has(span, "k8s.namespace.name", "traced")).collect();
        ensure!(
            !reconciles.is_empty() && reconciles.iter().all(|span| has(span, "vdi.session", "desktop")),
            "{spans:#?}"
        );
        ensure!(reconciles.iter().all(|span| has(span, "outcome", "ok")), "{reconciles:#?}");
        for (request, code) in [("create pods", 201), ("patch vdisessions/status", 200)] {
            let request = spans.iter().find(|span| {
                span.name == request && reconciles.iter().any(|reconcile| reconcile.span_id == span.parent_span_id)
            });
            let request = request.with_context(|| format!("no such request in a reconcile: {spans:#?}"))?;
            let found = attribute(request, "http.response.status_code");
            ensure!(found == Some(any_value::Value::IntValue(code)), "{request:#?}");
        }
        Ok(())
    })
}
