//! Where the time went.

use std::{cmp::Reverse, time::Duration};

use super::run::Ended;

const ROWS: usize = 10;

/// The slowest tests and the slowest binaries. A test that starts a cluster for the others of its binary includes that time.
pub fn slowest(ended: &[Ended]) -> String {
    let tests = ended.iter().flat_map(|binary| {
        binary.progress.ended.iter().map(|test| (test.took, format!("{} ({})", test.name, binary.name)))
    });
    let binaries = ended.iter().map(|binary| (binary.took, binary.name.clone()));
    format!("\nSlowest tests:\n{}\nSlowest binaries:\n{}\n", rows(tests.collect()), rows(binaries.collect()))
}

fn rows(mut times: Vec<(Duration, String)>) -> String {
    times.sort_by_key(|(took, _)| Reverse(*took));
    times.iter().take(ROWS).map(|(took, what)| format!("{:>7.1} s  {what}\n", took.as_secs_f64())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_come_first_and_there_are_ten_at_most() {
        let times = (0..12).map(|second| (Duration::from_secs(second), format!("test {second}")));
        let rows = rows(times.collect());
        assert!(rows.starts_with("   11.0 s  test 11\n   10.0 s  test 10\n"), "{rows}");
        assert_eq!(rows.lines().count(), ROWS);
    }
}
