//! Clocks that jump by a day. No desktop may end early or late because of that.

use std::{collections::BTreeSet, ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::runtime::wait::await_condition;
use tokio::time::sleep;
use vdi_api::{Phase, VDISession};

use super::{actions::LASTING, arena::Arena, invariants::phase, length::Length};
use crate::{
    objects::{create, session},
    stack::ControllerLaunch,
    test_namespace::TestNamespace,
    wait::within,
};

/// How long a short session runs, in seconds.
const SHORT: i64 = 6;
/// The tolerance in seconds. After a jump, the controller looks again when something changes, at the latest.
const OFF: i64 = 4;

/// The controller's own clock jumps, by libfaketime. Its monotonic clock continues, as after a real jump.
pub async fn own_clock_jumps(arena: &Arena, namespace: &TestNamespace, length: Length) -> Result<()> {
    let library = library()?;
    let file = arena.stack.cluster.logs().join("clock");
    std::fs::write(&file, "+0")?;
    let set = |name: &str, value: &std::ffi::OsStr| {
        let mut pair = OsString::from(format!("{name}="));
        pair.push(value);
        pair
    };
    let launch = arena.stack.controller_launch()?;
    let mut command = vec![
        "/usr/bin/env".into(),
        set("LD_PRELOAD", library.as_os_str()),
        set("FAKETIME_TIMESTAMP_FILE", file.as_os_str()),
        "FAKETIME_NO_CACHE=1".into(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
    ];
    command.extend(launch.command);
    let flags = [launch.flags, vec!["--log=vdi_controller=debug".to_owned()]].concat();
    let controller = arena.launch(ControllerLaunch { command, flags, ..launch })?;
    let lasting = jump(namespace, |days| {
        // Replaced atomically, so that nobody reads an empty file.
        let next = file.with_extension("next");
        std::fs::write(&next, format!("{days:+}d"))?;
        Ok(std::fs::rename(&next, &file)?)
    })
    .await?;
    let log = controller.log()?;
    for day in [-24, 24] {
        let day = Timestamp::now().checked_add(SignedDuration::from_hours(day))?.strftime("%Y-%m-%d").to_string();
        ensure!(log.contains(&format!("\"timestamp\":\"{day}")), "it was never {day} for the controller");
    }
    arena.check(namespace, vec![controller], lasting, length).await
}

/// The `Date` header in the API server's responses jumps.
pub async fn dates_jump(arena: &Arena, namespace: &TestNamespace, length: Length) -> Result<()> {
    let controller = arena.controller()?;
    let lasting = jump(namespace, |days| {
        arena.proxy.shift_dates(SignedDuration::from_hours(24 * days));
        Ok(())
    })
    .await?;
    arena.check(namespace, vec![controller], lasting, length).await
}

/// Sets the clock a day ahead, a day back, and right. Returns the sessions that should last.
async fn jump(namespace: &TestNamespace, set: impl Fn(i64) -> Result<()>) -> Result<BTreeSet<String>> {
    let mut lasting = BTreeSet::new();
    for (number, days) in [0, 1, -1, 0].into_iter().enumerate() {
        set(days)?;
        let (lasts, ends) = (format!("lasts-{number}"), format!("ends-{number}"));
        create(&namespace.sessions, &session(&lasts, LASTING)).await?;
        let mut short = session(&ends, LASTING);
        short.spec.timeout = format!("{SHORT}s");
        create(&namespace.sessions, &short).await?;
        lasting.insert(lasts.clone());

        let began = Timestamp::now();
        let start = namespace.wait_running(&lasts).await?.start_time.context("no start time")?.0;
        ensure!(
            start.duration_since(began).abs() < SignedDuration::from_secs(OFF),
            "{days:+} days: it began at {start}"
        );
        // The garbage collector removes it later, which isn't the controller's timing.
        let is_over = |session: Option<&VDISession>| session.is_none_or(|session| phase(session) == Phase::Terminating);
        within(&format!("{ends} ends"), await_condition(namespace.sessions.clone(), &ends, is_over)).await??;
        let ran = Timestamp::now().duration_since(began).as_secs();
        ensure!((ran - SHORT).abs() <= OFF, "{days:+} days: {SHORT} s were {ran} s");
        // A change makes the controller look at the existing sessions again.
        for name in &lasting {
            let label = serde_json::json!({ "metadata": { "labels": { "day": format!("day{days}") } } });
            let params = kube::api::PatchParams::default();
            namespace.sessions.patch(name, &params, &kube::api::Patch::Merge(label)).await?;
        }
        sleep(Duration::from_secs(1)).await;
        for name in &lasting {
            namespace.wait_running(name).await.with_context(|| format!("{days:+} days"))?;
        }
    }
    Ok(lasting)
}

/// Debian's package installs it in the folder of the architecture.
fn library() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").context("can't read /usr/lib")?;
    let candidates = folders.filter_map(|folder| Some(folder.ok()?.path().join("faketime/libfaketime.so.1")));
    let found = candidates.into_iter().find(|path| path.exists());
    found.context("libfaketime is missing: install Debian's package faketime")
}
