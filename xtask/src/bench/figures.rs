//! Percentiles, and tables of them.

use std::time::Duration;

/// The value that `percent` of the values are not above: the nearest rank. Zero for no values.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle one, for figures that are never NaN. Zero for none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Three digits or so, with a unit: `850 ms`, `1.24 s`.
pub fn duration(value: Duration) -> String {
    let seconds = value.as_secs_f64();
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

/// Rows as aligned lines: the first column starts at the left, the others end at the right, except the last.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cell = |(column, cell): (usize, &String)| match (column, widths[column]) {
            (0, width) => format!("{cell:<width$}"),
            (column, _) if column + 1 == columns => cell.clone(),
            (_, width) => format!("{cell:>width$}"),
        };
        let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
        format!("{}\n", cells.join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<Duration> = (1..=10).map(Duration::from_millis).collect();
        let of = |percent| percentile(&values, percent).as_millis();
        assert_eq!((of(0), of(50), of(90), of(99), of(100)), (1, 5, 9, 10, 10));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
        assert_eq!(percentile(&values[..1], 50), values[0]);
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["", "pods", "aim"]), row(["Ready/s", "9", ""]), row(["p50", "1.24 s", "at most µ"])];
        assert_eq!(table(&rows), "            pods   aim\nReady/s        9\np50       1.24 s   at most µ\n");
    }

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        let shown = |micros| duration(Duration::from_micros(micros));
        assert_eq!((&*shown(1_400), &*shown(850_000), &*shown(1_240_000)), ("1 ms", "850 ms", "1.24 s"));
    }
}
