//! The measurements, next to their targets.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use vdi_tests::{audit::Request, stack::controller};

use super::options::Options;
use crate::bench::{
    cpu::Cpu,
    figures::{duration, percentile, table},
    targets::{at_least, at_most},
};

/// Everything about one run.
pub struct Report {
    pub options: Options,
    pub baseline: Created,
    pub baseline_deleted: Deleted,
    pub sessions: Created,
    pub idle: Idle,
    pub deleted: Deleted,
    /// The controller's, in bytes.
    pub peak_memory: u64,
}

/// The creation of objects, until they are Ready.
pub struct Created {
    /// From just before the request until the watch shows it Ready. Sorted.
    latencies: Vec<Duration>,
    took: Duration,
    cpu: Cpu,
    requests: Vec<Request>,
    bench_cpu: Duration,
}

/// A while in which all sessions run and nothing happens.
pub struct Idle {
    pub length: Duration,
    pub cpu: Cpu,
    pub requests: Vec<Request>,
}

/// The deletion of objects, until they are gone.
pub struct Deleted {
    pub took: Duration,
    pub cpu: Cpu,
    pub requests: Vec<Request>,
}

impl Created {
    pub fn new(times: Vec<(Instant, Instant)>, cpu: Cpu, requests: Vec<Request>, bench_cpu: Duration) -> Self {
        let mut latencies: Vec<_> = times.iter().map(|(began, ready)| ready.duration_since(*began)).collect();
        latencies.sort();
        Self { latencies, took: span(&times), cpu, requests, bench_cpu }
    }

    fn count(&self) -> f64 {
        self.latencies.len() as f64
    }

    fn rate(&self) -> f64 {
        self.count() / self.took.as_secs_f64()
    }
}

fn all(cpu: &Cpu) -> Duration {
    cpu.values().sum()
}

/// The controller's requests, except those that an idle controller makes as well.
fn of_controller(requests: &[Request]) -> impl Iterator<Item = &Request> {
    let name = controller().name;
    requests.iter().filter(move |request| request.user == name && !request.is_of_the_idle())
}

fn row<const N: usize>(cells: [String; N]) -> Vec<String> {
    cells.to_vec()
}

impl Report {
    fn rows(&self) -> Vec<Vec<String>> {
        let Self { options, baseline, baseline_deleted, sessions, idle, deleted, peak_memory } = self;
        let mut rows = vec![row(["", "bare pods", "sessions", "target"].map(str::to_owned))];
        let mut add = |what: &str, baseline: String, value: String, target: String| {
            rows.push(row([what.to_owned(), baseline, value, target]))
        };
        let none = String::new;

        let target = match options.rate {
            None => at_least(0.6 * baseline.rate(), sessions.rate()),
            Some(_) => none(),
        };
        add("Ready/s", format!("{:.1}", baseline.rate()), format!("{:.1}", sessions.rate()), target);
        for (percent, target) in [(50, 7), (90, 0), (99, 26)] {
            let (low, high) = (percentile(&baseline.latencies, percent), percentile(&sessions.latencies, percent));
            let more = high.as_secs_f64() - low.as_secs_f64();
            let target = match target {
                0 => none(),
                _ if options.rate.is_none() => none(),
                target => at_most(f64::from(target), " ms more", (more * 1e3).round()),
            };
            add(&format!("create to Running, p{percent}"), duration(low), duration(high), none());
            add("  more than a bare pod", none(), format!("{:+.0} ms", more * 1e3), target);
        }

        let requests = of_controller(&sessions.requests).chain(of_controller(&deleted.requests)).count();
        let requests = requests as f64 / sessions.count();
        add("requests by the controller, create to gone", none(), format!("{requests:.2}"), at_most(3.0, "", requests));
        let all_requests = |created: &Created, deleted: &Deleted| {
            format!("{:.2}", (created.requests.len() + deleted.requests.len()) as f64 / created.count())
        };
        add(
            "requests by all clients, create to gone",
            all_requests(baseline, baseline_deleted),
            all_requests(sessions, deleted),
            none(),
        );

        let each = |cpu: Duration, created: &Created| cpu.as_secs_f64() * 1e3 / created.count();
        for (name, used) in &sessions.cpu {
            let (low, high) = (baseline.cpu.get(name).map(|used| each(*used, baseline)), each(*used, sessions));
            let target = if *name == "kube-apiserver" { at_most(18.0, "", high) } else { none() };
            let low = low.map_or_else(none, |low| format!("{low:.2}"));
            add(&format!("CPU of {name}, ms"), low, format!("{high:.2}"), target);
        }
        let (low, high) = (each(all(&baseline.cpu), baseline), each(all(&sessions.cpu), sessions));
        add("CPU of all servers, ms", format!("{low:.2}"), format!("{high:.2}"), at_most(25.0, "", high));
        let bench = |created: &Created| format!("{:.2}", each(created.bench_cpu, created));
        add("CPU of this benchmark, ms", bench(baseline), bench(sessions), none());

        let used = |cpu: &Cpu| cpu.get("vdi-controller").copied().unwrap_or_default();
        let per_thousand = (used(&sessions.cpu) + used(&deleted.cpu)).as_secs_f64() * 1e3 / sessions.count();
        add(
            "controller, CPU-s per 1000, create to gone",
            none(),
            format!("{per_thousand:.2}"),
            at_most(0.5, "", per_thousand),
        );
        let mebibytes = *peak_memory as f64 / f64::from(1 << 20);
        let target = if options.count <= 5000 { at_most(50.0, " at 5000", mebibytes) } else { none() };
        add("controller, peak memory, MiB", none(), format!("{mebibytes:.1}"), target);

        let requests = of_controller(&idle.requests).count();
        let seconds = idle.length.as_secs();
        add(
            &format!("idle for {seconds} s: requests by the controller"),
            none(),
            requests.to_string(),
            at_most(0.0, "", requests as f64),
        );
        let share = |cpu: Duration| format!("{:.2} %", 100.0 * cpu.as_secs_f64() / idle.length.as_secs_f64().max(1.0));
        add("  CPU of the controller, of one core", none(), share(used(&idle.cpu)), none());
        add("  CPU of all servers, of one core", none(), share(all(&idle.cpu)), none());

        let rate = |created: &Created, deleted: &Deleted| created.count() / deleted.took.as_secs_f64();
        let (low, high) = (rate(baseline, baseline_deleted), rate(sessions, deleted));
        add("deleted and gone/s", format!("{low:.1}"), format!("{high:.1}"), at_least(150.0, high));
        let each = |created: &Created, deleted: &Deleted| format!("{:.2}", each(all(&deleted.cpu), created));
        add("CPU of a deletion, all servers, ms", each(baseline, baseline_deleted), each(sessions, deleted), none());
        rows
    }

    /// The controller's requests per session.
    fn requests(&self) -> Vec<Vec<String>> {
        let mut rows =
            vec![row(["the controller's requests per session", "to Running", "to gone", ""].map(str::to_owned))];
        let mut counts = BTreeMap::<String, [usize; 2]>::new();
        for (part, requests) in [&self.sessions.requests, &self.deleted.requests].into_iter().enumerate() {
            of_controller(requests).for_each(|request| counts.entry(request.what()).or_default()[part] += 1);
        }
        let each = |count: usize| format!("{:.3}", count as f64 / self.sessions.count());
        rows.extend(
            counts
                .into_iter()
                .map(|(what, [created, deleted])| row([what, each(created), each(deleted), String::new()])),
        );
        rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Options { count, rate, webhook, floor_policies, .. } = self.options;
        let how = rate.map_or_else(|| "at once".to_owned(), |rate| format!("at {rate} per second"));
        let policy = match (webhook, floor_policies) {
            (false, false) => "without admission policies",
            (true, false) => "with the admission policy",
            (false, true) => "with the floor",
            (true, true) => "with the admission policy and the floor",
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        writeln!(
            f,
            "\n{count} sessions {how}, {policy}, audit log on, simulated nodes, {cores} cores for everything\n"
        )?;
        write!(f, "{}\n{}", table(&self.rows()), table(&self.requests()))
    }
}

/// From the first start to the last end.
fn span(times: &[(Instant, Instant)]) -> Duration {
    let began = times.iter().map(|(began, _)| *began).min();
    let deleted = times.iter().map(|(_, deleted)| *deleted).max();
    deleted.zip(began).map(|(deleted, began)| deleted.duration_since(began)).unwrap_or_default()
}
