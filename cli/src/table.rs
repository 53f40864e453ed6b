//! Tables as kubectl prints them.

use vdi_api::printable;

/// Lines with columns as wide as their widest cell. Without what whoever wrote an object may
/// have put there to move the terminal's cursor.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = [header]
        .into_iter()
        .chain(rows.iter().map(|row| row.iter().map(|cell| printable(cell).replace('\n', " ")).collect()))
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   "));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "x".to_owned()], vec!["longer".to_owned(), "y".to_owned()]];
        assert_eq!(table(&["NAME", "B"], &rows), "NAME     B\na        x\nlonger   y\n");
    }

    #[test]
    fn an_object_cannot_send_commands_to_the_terminal() {
        let table = table(&["NAME"], &[vec!["\u{1b}[2Jgone\n\u{9b}31m".to_owned()]]);
        assert!(
            !table.trim_end().contains('\u{1b}') && !table.contains('\u{9b}') && table.lines().count() == 2,
            "{table:?}"
        );
    }
}
