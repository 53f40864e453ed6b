//! CPU time and memory of processes, from /proc.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};
use vdi_cluster::Server;

/// CPU time (user and system) by the name of the server.
pub type Cpu = BTreeMap<&'static str, Duration>;

/// The CPU time of each server since its start.
pub fn of<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Result<Cpu> {
    let used = |server: &Server| Ok((server.name(), of_process(&pid(server)?.to_string())?));
    servers.into_iter().map(used).collect()
}

/// The CPU time of this process since its start.
pub fn of_this() -> Result<Duration> {
    of_process("self")
}

/// The CPU time of a process and its children, such as nginx and its workers.
pub fn of_all(pid: u32) -> Result<Duration> {
    with_children(pid)?.iter().map(|pid| of_process(pid)).sum()
}

/// The peak memory of a server, in bytes (VmHWM).
pub fn peak_memory(server: &Server) -> Result<u64> {
    bytes(&pid(server)?.to_string(), "VmHWM:")
}

/// The current memory of a process and its children, in bytes (VmRSS). Shared memory counts once for each process.
pub fn memory_of_all(pid: u32) -> Result<u64> {
    with_children(pid)?.iter().map(|pid| bytes(pid, "VmRSS:")).sum()
}

/// A field of /proc/<pid>/status, where it is in KiB.
fn bytes(pid: &str, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
    kibibytes.map(|kibibytes: u64| kibibytes << 10).with_context(|| format!("no {field} in {path}"))
}

fn with_children(pid: u32) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    Ok([pid.to_string()].into_iter().chain(children.split_whitespace().map(str::to_owned)).collect())
}

/// The process ID of a running server.
pub fn pid(server: &Server) -> Result<u32> {
    server.pid().with_context(|| format!("{} is not running; see its log", server.name()))
}

fn of_process(pid: &str) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    cpu_time(&stat).with_context(|| format!("{path} is not as in proc_pid_stat(5)"))
}

/// Fields 14 and 15 of proc_pid_stat(5), utime and stime. Linux reports them in hundredths of a second (USER_HZ),
/// whatever the kernel's own tick is.
fn cpu_time(stat: &str) -> Option<Duration> {
    // The name in parentheses may itself contain spaces and parentheses. Field 3 follows it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(14)? + ticks(15)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_user_and_system_whatever_the_process_is_called() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 7 7 20 0 9 0 100 1000 10";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu_time("42 (a) S 1"), None);
    }
}
