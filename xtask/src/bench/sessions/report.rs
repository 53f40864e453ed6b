//! What was measured, beside what is aimed at.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use vdi_tests::{audit::Request, stack::controller};

use super::options::Options;
use crate::bench::{
    aim::{at_least, at_most},
    cpu::Cpu,
    figures::{duration, percentile, table},
};

/// Everything about one run.
pub struct Report {
    pub options: Options,
    pub floor: Ran,
    pub floor_ended: Ended,
    pub sessions: Ran,
    pub idle: Idle,
    pub ended: Ended,
    /// Of the controller, in bytes.
    pub peak_memory: u64,
}

/// Objects that were made and became Ready.
pub struct Ran {
    /// From just before the request until the watch showed it Ready; sorted.
    latencies: Vec<Duration>,
    took: Duration,
    cpu: Cpu,
    requests: Vec<Request>,
    bench_cpu: Duration,
}

/// All of them are there, and nobody does anything.
pub struct Idle {
    pub length: Duration,
    pub cpu: Cpu,
    pub requests: Vec<Request>,
}

/// Objects that were deleted and are gone.
pub struct Ended {
    pub took: Duration,
    pub cpu: Cpu,
    pub requests: Vec<Request>,
}

impl Ran {
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

/// The controller's, without what it may ask for when nothing is to be done.
fn of_controller(requests: &[Request]) -> impl Iterator<Item = &Request> {
    let name = controller().name;
    requests.iter().filter(move |request| request.user == name && !request.is_of_the_idle())
}

fn row<const N: usize>(cells: [String; N]) -> Vec<String> {
    cells.to_vec()
}

impl Report {
    fn rows(&self) -> Vec<Vec<String>> {
        let Self { options, floor, floor_ended, sessions, idle, ended, peak_memory } = self;
        let mut rows = vec![row(["", "bare pods", "sessions", "aim"].map(str::to_owned))];
        let mut add = |what: &str, floor: String, value: String, aim: String| {
            rows.push(row([what.to_owned(), floor, value, aim]))
        };
        let none = String::new;

        let aim = match options.rate {
            None => at_least(0.6 * floor.rate(), sessions.rate()),
            Some(_) => none(),
        };
        add("Ready/s", format!("{:.1}", floor.rate()), format!("{:.1}", sessions.rate()), aim);
        for (percent, aim) in [(50, 7), (90, 0), (99, 26)] {
            let (low, high) = (percentile(&floor.latencies, percent), percentile(&sessions.latencies, percent));
            let more = high.as_secs_f64() - low.as_secs_f64();
            let aim = match aim {
                0 => none(),
                _ if options.rate.is_none() => none(),
                aim => at_most(f64::from(aim), " ms more", (more * 1e3).round()),
            };
            add(&format!("create to Running, p{percent}"), duration(low), duration(high), none());
            add("  less the floor", none(), format!("{:+.0} ms", more * 1e3), aim);
        }

        let a_session = |count: usize| count as f64 / sessions.count();
        let asked = a_session(of_controller(&sessions.requests).count() + of_controller(&ended.requests).count());
        add("requests by the controller, create to gone", none(), format!("{asked:.2}"), at_most(3.0, "", asked));
        let everybody = |ran: &Ran, ended: &Ended| {
            format!("{:.2}", (ran.requests.len() + ended.requests.len()) as f64 / ran.count())
        };
        add("requests by everybody, create to gone", everybody(floor, floor_ended), everybody(sessions, ended), none());

        let each = |cpu: Duration, ran: &Ran| cpu.as_secs_f64() * 1e3 / ran.count();
        for (name, used) in &sessions.cpu {
            let (low, high) = (floor.cpu.get(name).map(|used| each(*used, floor)), each(*used, sessions));
            let aim = if *name == "kube-apiserver" { at_most(18.0, "", high) } else { none() };
            let low = low.map_or_else(none, |low| format!("{low:.2}"));
            add(&format!("CPU of {name}, ms"), low, format!("{high:.2}"), aim);
        }
        let (low, high) = (each(all(&floor.cpu), floor), each(all(&sessions.cpu), sessions));
        add("CPU of all of them, ms", format!("{low:.2}"), format!("{high:.2}"), at_most(25.0, "", high));
        let bench = |ran: &Ran| format!("{:.2}", each(ran.bench_cpu, ran));
        add("CPU of this benchmark, ms", bench(floor), bench(sessions), none());

        let used = |cpu: &Cpu| cpu.get("vdi-controller").copied().unwrap_or_default();
        let per_thousand = (used(&sessions.cpu) + used(&ended.cpu)).as_secs_f64() * 1e3 / sessions.count();
        add(
            "controller, CPU-s for 1000, create to gone",
            none(),
            format!("{per_thousand:.2}"),
            at_most(0.5, "", per_thousand),
        );
        let mebibytes = *peak_memory as f64 / f64::from(1 << 20);
        let aim = if options.count <= 5000 { at_most(50.0, " at 5000", mebibytes) } else { none() };
        add("controller, peak memory, MiB", none(), format!("{mebibytes:.1}"), aim);

        let asked = of_controller(&idle.requests).count();
        let seconds = idle.length.as_secs();
        add(
            &format!("idle for {seconds} s: requests by the controller"),
            none(),
            asked.to_string(),
            at_most(0.0, "", asked as f64),
        );
        let share = |cpu: Duration| format!("{:.2} %", 100.0 * cpu.as_secs_f64() / idle.length.as_secs_f64().max(1.0));
        add("  CPU of the controller, of one core", none(), share(used(&idle.cpu)), none());
        add("  CPU of all of them, of one core", none(), share(all(&idle.cpu)), none());

        let rate = |ran: &Ran, ended: &Ended| ran.count() / ended.took.as_secs_f64();
        let (low, high) = (rate(floor, floor_ended), rate(sessions, ended));
        add("deleted and gone/s", format!("{low:.1}"), format!("{high:.1}"), at_least(150.0, high));
        let each = |ran: &Ran, ended: &Ended| format!("{:.2}", each(all(&ended.cpu), ran));
        add("CPU of a deletion, all of them, ms", each(floor, floor_ended), each(sessions, ended), none());
        rows
    }

    /// What the controller asked for, each a session.
    fn requests(&self) -> Vec<Vec<String>> {
        let mut rows =
            vec![row(["the controller's requests a session", "to Running", "to gone", ""].map(str::to_owned))];
        let mut counts = BTreeMap::<String, [usize; 2]>::new();
        for (part, requests) in [&self.sessions.requests, &self.ended.requests].into_iter().enumerate() {
            of_controller(requests).for_each(|request| counts.entry(request.what()).or_default()[part] += 1);
        }
        let each = |count: usize| format!("{:.3}", count as f64 / self.sessions.count());
        rows.extend(counts.into_iter().map(|(what, [ran, ended])| row([what, each(ran), each(ended), String::new()])));
        rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Options { count, rate, webhook, floor_policies, .. } = self.options;
        let how = rate.map_or_else(|| "at once".to_owned(), |rate| format!("at {rate} a second"));
        let policy = match (webhook, floor_policies) {
            (false, false) => "without admission policies",
            (true, false) => "with the admission policy",
            (false, true) => "with the policies of deploy/floor",
            (true, true) => "with the admission policy and those of deploy/floor",
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        writeln!(
            f,
            "\n{count} sessions {how}, {policy}, audit log on, simulated nodes, {cores} cores for everything\n"
        )?;
        write!(f, "{}\n{}", table(&self.rows()), table(&self.requests()))
    }
}

/// From the first to the last.
fn span(times: &[(Instant, Instant)]) -> Duration {
    let began = times.iter().map(|(began, _)| *began).min();
    let ended = times.iter().map(|(_, ended)| *ended).max();
    ended.zip(began).map(|(ended, began)| ended.duration_since(began)).unwrap_or_default()
}
