//! Percentiles, medians and tables.

use std::time::Duration;

/// The percentile by nearest rank. Zero if there are no values.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The median of values that are never NaN. Zero if there are none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// About three digits with a unit, such as `850 ms` or `1.24 s`.
pub fn duration(value: Duration) -> String {
    let seconds = value.as_secs_f64();
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

/// Rows as aligned lines. The first and last columns are left-aligned, the others right-aligned.
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
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<Duration> = (1..=10).map(Duration::from_millis).collect();
        let of = |percent| percentile(&values, percent).as_millis();
        assert_eq!((of(0), of(50), of(90), of(99), of(100)), (1, 5, 9, 10, 10));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
        assert_eq!(percentile(&values[..1], 50), values[0]);
    }

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["", "pods", "target"]), row(["Ready/s", "9", ""]), row(["p50", "1.24 s", "at most µ"])];
        assert_eq!(table(&rows), "            pods   target\nReady/s        9\np50       1.24 s   at most µ\n");
    }

    #[test]
    fn durations_have_a_suitable_unit() {
        let shown = |micros| duration(Duration::from_micros(micros));
        assert_eq!((&*shown(1_400), &*shown(850_000), &*shown(1_240_000)), ("1 ms", "850 ms", "1.24 s"));
    }
}
