//! `cargo xtask bench policy`: what the admission policy costs, beside a module that does nothing. All of it is measured in
//! one run, in turns, so that the machine's moods fall on all alike.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vdi_release::{target, workspace};
use vdi_tests::policy::{
    Limits, Played, PolicyHost, PolicyResponse,
    case::{create, valid_session},
};

const ROUNDS: usize = 2_000;
const HOSTILE_ROUNDS: usize = 100;

fn main() -> Result<()> {
    let no_op = fs::read(vdi_release::policy::compile("no-op-policy", workspace(), &target())?)?;
    let no_op = measured("no-op", &no_op, || PolicyHost::new(&no_op, Limits::default()))?;
    let path = vdi_release::policy::build()?;
    let policy = measured("vdisession", &fs::read(&path)?, || PolicyHost::load(&path))?;

    println!("\n{:<34} {:>8} {:>8} {:>8} {:>7}", "fresh instance + validate", "p50 µs", "p99 µs", "warm µs", "x no-op");
    let mut cases = vec![Case::new("no-op", &no_op, valid(), json!({}), true)];
    for (name, settings) in [("no settings", json!({})), ("all settings", all_settings()?)] {
        for (what, request) in [("accept", valid()), ("reject", wrong()), ("mutate", incomplete())] {
            cases.push(Case::new(&format!("{name}, {what}"), &policy, request, settings.clone(), what != "reject"));
        }
    }
    for round in 0..ROUNDS {
        for case in &mut cases {
            case.run()?;
            if round % 10 == 0 {
                case.run_warm()?;
            }
        }
    }
    let floor = cases[0].percentile(50);
    for case in &mut cases {
        let (p50, p99, warm) = (case.percentile(50), case.percentile(99), case.warm());
        let ratio = p50.as_secs_f64() / floor.as_secs_f64();
        println!("{:<34} {:>8.1} {:>8.1} {:>8.1} {ratio:>7.2}", case.name, micros(p50), micros(p99), micros(warm));
    }

    println!("\n{:<34} {:>8} {:>8}", "hostile requests", "p50 ms", "p99 ms");
    for (name, request, accepted) in hostile() {
        let mut case = Case::new(name, &policy, request, json!({}), accepted);
        for _ in 0..HOSTILE_ROUNDS {
            case.run()?;
        }
        let (p50, p99) = (case.percentile(50), case.percentile(99));
        println!("{name:<34} {:>8.1} {:>8.1}", millis(p50), millis(p99));
    }
    Ok(())
}

/// Compiles a module, and prints what that takes.
fn measured(name: &str, module: &[u8], compile: impl Fn() -> Result<PolicyHost>) -> Result<PolicyHost> {
    let start = Instant::now();
    let host = compile().with_context(|| name.to_owned())?;
    let (size, time, memory) = (module.len() / 1024, millis(start.elapsed()), memory_needed(module)?);
    println!("{name:<11} {size:>4} KiB, compiled in {time:>4.0} ms, needs {memory} KiB of memory");
    Ok(host)
}

/// The least memory, in KiB, with which an ordinary request is judged.
fn memory_needed(module: &[u8]) -> Result<usize> {
    let payload = serde_json::to_vec(&json!({"request": valid(), "settings": {}}))?;
    let mut pages = 1;
    loop {
        let limits = Limits { memory: pages << 16, ..Limits::default() };
        if PolicyHost::new(module, limits).and_then(|host| host.call_raw("validate", &payload, None)).is_ok() {
            return Ok(pages * 64);
        }
        pages += 1;
    }
}

struct Case<'a> {
    name: String,
    host: &'a PolicyHost,
    payload: Vec<u8>,
    accepted: bool,
    warm: wapc::WapcHost,
    times: Vec<Duration>,
    warm_times: Vec<Duration>,
}

impl<'a> Case<'a> {
    fn new(name: &str, host: &'a PolicyHost, request: Value, settings: Value, accepted: bool) -> Self {
        let payload = serde_json::to_vec(&json!({"request": request, "settings": settings})).unwrap_or_default();
        let warm = host.instance(Some(Arc::new(sessions()))).expect("there is memory for an instance");
        Self { name: name.to_owned(), host, payload, accepted, warm, times: Vec::new(), warm_times: Vec::new() }
    }

    fn run(&mut self) -> Result<()> {
        let capabilities = Arc::new(sessions());
        let start = Instant::now();
        let answer = self.host.call_raw("validate", &self.payload, Some(capabilities))?;
        self.times.push(start.elapsed());
        let answer: PolicyResponse = serde_json::from_slice(&answer)?;
        ensure!(answer.accepted == self.accepted, "{}: {answer:?}", self.name);
        Ok(())
    }

    fn run_warm(&mut self) -> Result<()> {
        let start = Instant::now();
        self.warm.call("validate", &self.payload)?;
        self.warm_times.push(start.elapsed());
        Ok(())
    }

    fn percentile(&mut self, percent: usize) -> Duration {
        self.times.sort();
        self.times[(self.times.len() * percent / 100).min(self.times.len() - 1)]
    }

    fn warm(&mut self) -> Duration {
        self.warm_times.sort();
        self.warm_times[self.warm_times.len() / 2]
    }
}

fn valid() -> Value {
    create(valid_session())
}

fn wrong() -> Value {
    let mut session = valid_session();
    session["spec"] =
        json!({"user": "alice", "template": "No", "resources": {"gpu": 0, "memory": "lots"}, "timeout": "8"});
    create(session)
}

fn incomplete() -> Value {
    let mut session = valid_session();
    session["metadata"] = json!({"name": "alice-desktop", "namespace": "desktops"});
    session["spec"] = json!({"user": "alice@Example.com", "template": "ubuntu-desktop"});
    create(session)
}

/// Those of the case that has them all, with each rule doing what it does by default and names as the cluster gives them.
fn all_settings() -> Result<Value> {
    let path = workspace().join("tests/cases/settings/every-setting-can-be-given.json");
    let mut settings = serde_json::from_slice::<Value>(&fs::read(path)?)?["settings"].take();
    settings["rules"] = json!({});
    settings["identity"] = json!({"exemptGroups": ["vdi-admins"]});
    Ok(settings)
}

/// What the host answers: one other session of alice's, her template, and no right to act for others.
fn sessions() -> Played {
    let other = json!({
        "metadata": {"name": "other", "namespace": "desktops"},
        "spec": {"user": "alice@example.com", "resources": {"gpu": 1}},
        "status": {"phase": "Running"},
    });
    serde_json::from_value(json!({
        "kubernetes/can_i": {"allowed": false},
        "kubernetes/list_resources_all": {"items": [other]},
        "kubernetes/get_resource": {"metadata": {"name": "ubuntu-desktop"}},
    }))
    .unwrap_or_default()
}

/// Each with whether it is accepted: what the policy doesn't know, it doesn't mind.
fn hostile() -> [(&'static str, Value, bool); 5] {
    let with = |field: &str, value: Value| {
        let mut session = valid_session();
        session["spec"][field] = value;
        create(session)
    };
    let nested = (0..10_000).fold(Value::Null, |inner, _| json!([inner]));
    let many: Vec<Value> = (0..100_000).map(Value::from).collect();
    let mut annotated = valid_session();
    annotated["metadata"]["annotations"] = (0..10_000).map(|n| (format!("key-{n}"), json!("value"))).collect();
    [
        ("a user of 1 MiB", with("user", "a".repeat(1 << 20).into()), false),
        ("a memory of 1 MiB of digits", with("resources", json!({"gpu": 1, "memory": "9".repeat(1 << 20)})), false),
        ("a list of 100,000 numbers", with("unknown", many.into()), true),
        ("JSON 10,000 deep", with("unknown", nested), false),
        ("10,000 annotations", create(annotated), true),
    ]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
