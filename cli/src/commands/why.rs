use anyhow::Result;
use jiff::{Timestamp, Unit, tz::TimeZone};
use serde_json::Value;
use vdi_api::{Phase, VDISession, explanation, printable};

use crate::{cluster::Cluster, table::table};

/// So many of the last events.
const EVENTS: usize = 8;

pub async fn run(cluster: &Cluster, name: &str) -> Result<()> {
    let session = cluster.session(name).await?;
    print!("{}", told(&session, Timestamp::now()));
    let uid = session.metadata.uid.as_deref().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{}/events?fieldSelector=involvedObject.uid%3D{uid}", cluster.namespace);
    // Events are extra, and not everybody may read them.
    if let Ok(events) = cluster.get(&path).await {
        print_events(&events);
    }
    Ok(())
}

/// What the matter is, what to do, and the machine's words.
pub fn told(session: &VDISession, now: Timestamp) -> String {
    let name = session.metadata.name.as_deref().unwrap_or_default();
    let status = session.status.clone().unwrap_or_default();
    let ready = status.ready();
    let reason = ready.map_or("Scheduling", |ready| ready.reason.as_str());
    let mut lines = vec![format!("{name} is {:?}", status.phase).to_lowercase()];
    if let Some(since) = ready.map(|ready| ready.last_transition_time.0) {
        lines[0] += &format!(" since {} ({})", clock(since), ago(since, now));
    }
    match explanation(reason) {
        // What to do with a running one is below.
        Some(explanation) if status.phase == Phase::Running => lines.push(explanation.what.to_owned()),
        Some(explanation) => lines.extend([explanation.what.to_owned(), explanation.advice.to_owned()]),
        None => lines.push(format!("The cluster says {reason}, which this version of kubectl vdi doesn't know.")),
    }
    if let Some(queue) = status.queue.as_ref().filter(|_| status.phase == Phase::Pending) {
        lines.push(match queue.ahead {
            0 => "It is next in line.".to_owned(),
            1 => "One desktop is ahead of it.".to_owned(),
            ahead => format!("{ahead} desktops are ahead of it."),
        });
    }
    if let Some(url) = status.url.as_ref().filter(|_| status.phase == Phase::Running) {
        lines.push(format!("Open it: kubectl vdi open {name}, or {url}"));
    }
    if let Some(end) = status.expires_at.as_ref().filter(|_| matches!(status.phase, Phase::Running | Phase::Creating)) {
        lines.push(format!("It ends at {} unless it is extended: kubectl vdi extend {name} 2h", clock(end.0)));
    }
    if let Some(message) = ready.map(|ready| ready.message.as_str()).filter(|message| !message.is_empty()) {
        lines.push(format!("Details: {reason}: {message}"));
    }
    lines.into_iter().map(|line| printable(&line) + "\n").collect()
}

fn print_events(events: &Value) {
    let mut events: Vec<&Value> = events["items"].as_array().into_iter().flatten().collect();
    let time = |event: &Value| {
        let times = [&event["eventTime"], &event["lastTimestamp"], &event["metadata"]["creationTimestamp"]];
        times.into_iter().find_map(|time| time.as_str()).unwrap_or_default().to_owned()
    };
    events.sort_by_key(|event| time(event));
    let rows: Vec<_> = events
        .iter()
        .rev()
        .take(EVENTS)
        .rev()
        .map(|event| {
            let at = time(event).parse().map_or_else(|_| time(event), clock);
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            vec![at, text("reason"), text("message")]
        })
        .collect();
    if !rows.is_empty() {
        print!("\n{}", table(&["WHEN", "WHAT", "DETAILS"], &rows));
    }
}

/// In the time zone of whoever reads it; with the date if that isn't today's.
pub fn clock(time: Timestamp) -> String {
    let (time, now) = (time.to_zoned(TimeZone::system()), Timestamp::now().to_zoned(TimeZone::system()));
    let format = if time.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    time.strftime(format).to_string()
}

fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.since((Unit::Second, time)).map_or(0, |span| span.get_seconds()).max(0);
    match seconds {
        ..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}
