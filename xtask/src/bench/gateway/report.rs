//! What was measured of the ways, beside each other.

use std::fmt;

use super::{
    measure::{LARGE, Measured, PICTURE, Round, SMALL, Work},
    options::Options,
};
use crate::bench::{
    aim::{at_least, at_most},
    figures::table,
};

pub struct Report {
    pub options: Options,
    pub workers: usize,
    pub direct: Measured,
    pub nginx: Measured,
    pub gateway: Measured,
}

const HOW_TO_READ: &str = "\
A figure is the median of the rounds, in each of which all three have their turn; what is more than direct is the median of
what it was in each round. CPU and memory are those of the proxy's processes. Direct is without TLS, as the desktop itself has
none: with a proxy, TLS counts too, and so does that clients, desktop and proxy share the cores. nginx lets everybody in and
writes nothing down; the gateway checks a session token, reads along what clients send, and writes its access log.
";

impl Report {
    fn rows(&self) -> Vec<Vec<String>> {
        let Self { direct, nginx, gateway, .. } = self;
        let mut rows = Vec::new();
        let mut row = |what: &str, cells: [String; 3], aim: String| {
            rows.push([what.to_owned()].into_iter().chain(cells).chain([aim]).collect());
        };
        let all = [direct, nginx, gateway];
        let none = String::new;
        row("", all.map(|way| way.name.to_owned()), "aim".to_owned());

        let p50: fn(&Round) -> f64 = |round| round.p50.as_secs_f64() * 1e6;
        let p99: fn(&Round) -> f64 = |round| round.p99.as_secs_f64() * 1e6;
        for (percent, of, aim) in [(50, p50, Some(100.0)), (99, p99, None)] {
            let title = format!("websocket, {SMALL} bytes there and back, p{percent}, µs");
            row(&title, all.map(|way| format!("{:.0}", way.median(of))), none());
            let more = [nginx, gateway].map(|way| way.more(direct, of));
            let aim = aim.map_or_else(none, |aim| at_most(aim, " µs more", more[1].round()));
            let [nginx, gateway] = more.map(|more| format!("{more:+.0}"));
            row("  more than direct", [none(), nginx, gateway], aim);
        }

        let megabytes = all.map(|way| way.median(|round| round.frames.a_second() / 1e6));
        let aim = at_least(megabytes[1].round(), megabytes[2].round());
        let title = format!("frames of {} MiB from the desktop, MB/s", LARGE >> 20);
        row(&title, megabytes.map(|megabytes| format!("{megabytes:.0}")), aim);
        let cpu = |way: &Measured, of: fn(&Round) -> Work, amount| Work::cpu(way.rounds.iter().map(of), amount);
        let [nginx_cpu, gateway_cpu] =
            [nginx, gateway].map(|way| format!("{:.2}", cpu(way, |round| round.frames, 1e9)));
        row("  CPU of the proxy, s a GB", [none(), nginx_cpu, gateway_cpu], none());

        let rates = all.map(|way| format!("{:.0}", way.median(|round| round.connections.a_second())));
        row("new connections with one GET, a second", rates, none());
        let cpu = [nginx, gateway].map(|way| format!("{:.2}", cpu(way, |round| round.connections, 1e3)));
        let [nginx_cpu, gateway_cpu] = cpu;
        row("  CPU of the proxy, ms each", [none(), nginx_cpu, gateway_cpu], none());

        let [nginx, gateway] = [nginx, gateway].map(|way| way.idle_memory.unwrap_or_default() / 1024.0);
        let title = format!("memory of each of {} idle websockets, KiB", self.options.idle);
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
            "\n{rounds} rounds on loopback, {workers} cores for everything, as many threads or workers a proxy, \
             nginx with buffers of {nginx_buffer} KiB\n"
        )?;
        writeln!(f, "{}\n{HOW_TO_READ}", table(&self.rows()))?;
        writeln!(f, "The idle websockets have shown {} KiB each before, and do nothing.", PICTURE >> 10)
    }
}
