use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::{
    Error,
    api::PostParams,
    core::{ObjectMeta, WatchEvent},
};
use serde_json::json;
use vdi_api::{Phase, VDISession, printable};

use crate::{
    cluster::Cluster,
    commands::{open, templates, why},
    options::Start,
    output::Output,
    words,
};

pub async fn run(cluster: &Cluster, options: &Start) -> Result<()> {
    let (session, is_new) = create(cluster, options).await?;
    let name = session.metadata.name.clone().unwrap_or_default();
    if let Some(output) = options.output.output.filter(|output| *output != Output::Wide) {
        print!("{}", output.print("vdisession", &session)?.unwrap_or_default());
    } else if is_new {
        println!("{name} is starting in namespace {}", cluster.namespace);
    }
    if options.wait || options.open {
        let url = wait(cluster, session).await?;
        return open::open(&name, &url, !options.open);
    }
    if options.output.output.is_none() {
        match is_new {
            true => println!("Open it when it is running: kubectl vdi open {name}"),
            false => print!("{}", why::told(&session, Timestamp::now())),
        }
    }
    Ok(())
}

/// Creates the session. One that is there already with the same name, template and user is the one that is meant: starting it twice
/// makes one desktop.
async fn create(cluster: &Cluster, options: &Start) -> Result<(VDISession, bool)> {
    ensure_template(cluster, &options.template).await?;
    let user = match &options.user {
        Some(user) => user.clone(),
        None => cluster.email().await?,
    };
    let name = options.name.as_ref().map_or_else(|| options.template.clone(), |name| name.as_str().to_owned());
    let mut resources = serde_json::Map::new();
    resources.extend(options.gpu.map(|gpu| ("gpu".to_owned(), gpu.into())));
    resources.extend(options.memory.as_ref().map(|memory| ("memory".to_owned(), memory.to_string().into())));
    let mut spec = json!({"user": user.to_string(), "template": options.template, "resources": resources});
    if let Some(timeout) = options.timeout {
        spec["timeout"] = timeout.to_string().into();
    }
    let session = VDISession {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        spec: serde_json::from_value(spec).context("the session")?,
        status: None,
    };
    match cluster.sessions().create(&PostParams::default(), &session).await {
        Ok(session) => Ok((session, true)),
        Err(Error::Api(status)) if status.reason == "AlreadyExists" => {
            let there = cluster.session(&name).await?;
            if there.spec.user != user.to_string() || there.spec.template != options.template {
                let (user, template) = (printable(&there.spec.user), printable(&there.spec.template));
                bail!("{name} is there already, and is {user}'s, from {template}: choose another name with --name");
            }
            Ok((there, false))
        }
        Err(error) => Err(words::explain(error, &cluster.namespace)),
    }
}

/// A session of a template that isn't there would wait for it, which is rarely what somebody means who types its name.
async fn ensure_template(cluster: &Cluster, name: &str) -> Result<()> {
    // Whoever may not list them may still start one.
    let Ok(list) = cluster.get(templates::PATH).await else { return Ok(()) };
    let names = list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str());
    let names: Vec<&str> = names.collect();
    ensure!(
        names.contains(&name),
        "there is no template {name:?}: `kubectl vdi templates` lists what there is ({})",
        names.join(", ")
    );
    Ok(())
}

/// Waits until the desktop can be opened, and returns where. Says what it waits for as that changes.
async fn wait(cluster: &Cluster, session: VDISession) -> Result<String> {
    let name = session.metadata.name.clone().unwrap_or_default();
    let mut session = session;
    let mut shown = String::new();
    loop {
        if let Some(url) = running(&session) {
            clear(&shown);
            return Ok(url);
        }
        let told = why::told(&session, Timestamp::now());
        let phase = session.status.as_ref().map(|status| status.phase).unwrap_or_default();
        if session.spec.suspend || matches!(phase, Phase::Failed | Phase::Terminating) {
            clear(&shown);
            bail!("{}", told.trim_end());
        }
        show(&mut shown, &told);
        session = next(cluster, &name, &session).await?;
    }
}

fn running(session: &VDISession) -> Option<String> {
    let status = session.status.as_ref()?;
    let is_current = status.observed_generation == session.metadata.generation;
    status.url.clone().filter(|_| status.phase == Phase::Running && is_current && !session.spec.suspend)
}

/// The session after its next change.
async fn next(cluster: &Cluster, name: &str, session: &VDISession) -> Result<VDISession> {
    let version = session.metadata.resource_version.clone().unwrap_or_default();
    let path = format!(
        "/apis/vdi.kasm.io/v1alpha1/namespaces/{}/vdisessions?watch=true&resourceVersion={version}&fieldSelector=metadata.name%3D{name}",
        cluster.namespace
    );
    let request = http::Request::get(path).body(Vec::new())?;
    let events = cluster.client.request_events::<VDISession>(request).await;
    let events = events.map_err(|error| words::explain(error, &cluster.namespace))?;
    match events.boxed().try_next().await.map_err(|error| words::explain(error, &cluster.namespace))? {
        Some(WatchEvent::Added(session) | WatchEvent::Modified(session)) => Ok(session),
        Some(WatchEvent::Deleted(_)) => bail!("{name} was ended"),
        // The watch ended, or is too old.
        _ => cluster.session(name).await,
    }
}

/// One line that changes on a terminal, and a line a change elsewhere.
fn show(shown: &mut String, told: &str) {
    let line = told.lines().take(3).collect::<Vec<_>>().join(" | ");
    if *shown == line {
        return;
    }
    clear(shown);
    match std::io::stderr().is_terminal() {
        true => eprint!("{line}"),
        false => eprintln!("{line}"),
    }
    let _ = std::io::stderr().flush();
    *shown = line;
}

fn clear(shown: &str) {
    if !shown.is_empty() && std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[2K");
    }
}
