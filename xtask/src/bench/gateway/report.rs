//! The routes, side by side.

use std::fmt;

use super::{
    measure::{LARGE, Measured, PICTURE, Round, SMALL, Work},
    options::Options,
};
use crate::bench::{
    figures::table,
    targets::{at_least, at_most},
};

pub struct Report {
    pub options: Options,
    pub workers: usize,
    pub direct: Measured,
    pub nginx: Measured,
    pub gateway: Measured,
}

const HOW_TO_READ: &str = "\
Each figure is the median of all rounds, in which the three routes take turns. \"More than direct\" is the median of the
differences in each round. CPU and memory are those of the proxy's processes. The direct connection has no TLS, so TLS is part of
what a proxy adds, and clients, desktop and proxy share the cores. nginx lets everybody in and logs nothing; the gateway verifies
a session token, inspects what clients send, and writes its access log.
";

impl Report {
    fn rows(&self) -> Vec<Vec<String>> {
        let Self { direct, nginx, gateway, .. } = self;
        let mut rows = Vec::new();
        let mut row = |what: &str, cells: [String; 3], target: String| {
            rows.push([what.to_owned()].into_iter().chain(cells).chain([target]).collect());
        };
        let all = [direct, nginx, gateway];
        let none = String::new;
        row("", all.map(|route| route.name.to_owned()), "target".to_owned());

        let p50: fn(&Round) -> f64 = |round| round.p50.as_secs_f64() * 1e6;
        let p99: fn(&Round) -> f64 = |round| round.p99.as_secs_f64() * 1e6;
        for (percent, of, target) in [(50, p50, Some(100.0)), (99, p99, None)] {
            let title = format!("websocket round trip, {SMALL} bytes, p{percent}, µs");
            row(&title, all.map(|route| format!("{:.0}", route.median(of))), none());
            let more = [nginx, gateway].map(|route| route.more(direct, of));
            let target = target.map_or_else(none, |target| at_most(target, " µs more", more[1].round()));
            let [nginx, gateway] = more.map(|more| format!("{more:+.0}"));
            row("  more than direct", [none(), nginx, gateway], target);
        }

        let megabytes = all.map(|route| route.median(|round| round.frames.per_second() / 1e6));
        let target = at_least(megabytes[1].round(), megabytes[2].round());
        let title = format!("frames of {} MiB from the desktop, MB/s", LARGE >> 20);
        row(&title, megabytes.map(|megabytes| format!("{megabytes:.0}")), target);
        let cpu = |route: &Measured, of: fn(&Round) -> Work, amount| Work::cpu(route.rounds.iter().map(of), amount);
        let [nginx_cpu, gateway_cpu] =
            [nginx, gateway].map(|route| format!("{:.2}", cpu(route, |round| round.frames, 1e9)));
        row("  CPU of the proxy, s per GB", [none(), nginx_cpu, gateway_cpu], none());

        let rates = all.map(|route| format!("{:.0}", route.median(|round| round.connections.per_second())));
        row("new connections with one GET, per second", rates, none());
        let cpu = [nginx, gateway].map(|route| format!("{:.2}", cpu(route, |round| round.connections, 1e3)));
        let [nginx_cpu, gateway_cpu] = cpu;
        row("  CPU of the proxy, ms each", [none(), nginx_cpu, gateway_cpu], none());

        let [nginx, gateway] = [nginx, gateway].map(|route| route.idle_memory.unwrap_or_default() / 1024.0);
        let title = format!("memory per idle websocket, of {}, KiB", self.options.idle);
        let cells = [none(), format!("{nginx:.1}"), format!("{gateway:.1}")];
        row(&title, cells, at_most(20.0, " KiB", (gateway * 10.0).round() / 10.0));
        rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { options: Options { rounds, nginx_buffer, .. }, workers, .. } = self;
        writeln!(
            f,
            "\n{rounds} rounds on loopback, {workers} cores for everything, as many threads or workers per proxy, \
             nginx with buffers of {nginx_buffer} KiB\n"
        )?;
        writeln!(f, "{}\n{HOW_TO_READ}", table(&self.rows()))?;
        writeln!(f, "Each idle websocket has first carried {} KiB.", PICTURE >> 10)
    }
}
