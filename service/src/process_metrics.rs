//! CPU time and memory of this process, under the names that Prometheus' own client libraries use.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        // Only Linux has /proc.
        if let Some(seconds) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
            let help = "User and system CPU time";
            let metric = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        if let Some(bytes) = std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
            let help = "Resident memory";
            let unit = Some(&Unit::Bytes);
            let metric = encoder.encode_descriptor("process_resident_memory", help, unit, MetricType::Gauge)?;
            ConstGauge::new(bytes).encode(metric)?;
        }
        Ok(())
    }
}

/// The fields 14 and 15 of proc_pid_stat(5), in clock ticks, which are hundredths of a second on every Linux.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field, the program's name in parentheses, may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some((ticks(14)? + ticks(15)?) as f64 / 100.0)
}

/// `VmRSS` of proc_pid_status(5), in units of 1024 bytes.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<i64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 2000 0 0 0 150 25 0 0 20 0 3 0 100 1000 200";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(resident_bytes("VmPeak:\t  99 kB\nVmRSS:\t    2048 kB\n"), Some(2 * 1024 * 1024));
    }
}
