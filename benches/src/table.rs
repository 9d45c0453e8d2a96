//! Tables and figures for people.

/// Columns as wide as they need to be: the first to the left, the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                line += &format!("{cell:<width$}");
            } else {
                line += &format!("  {cell:>width$}");
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Three digits that matter, with the unit: `81us`, `3.21ms`, `1.20s`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2}s"),
        s if s >= 0.1 => format!("{:.0}ms", s * 1e3),
        s if s >= 0.01 => format!("{:.1}ms", s * 1e3),
        s if s >= 0.001 => format!("{:.2}ms", s * 1e3),
        // Of a cached read the first digit alone says little.
        s if s > 0.0 && s < 1e-5 => format!("{:.2}us", s * 1e6),
        s => format!("{:.0}us", s * 1e6),
    }
}

/// A whole number with its thousands apart.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `format` of the value, or a dash.
pub(crate) fn or_dash<T>(value: Option<T>, format: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1"], ["long", "22"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "a      1\nlong  22\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn durations_keep_three_digits() {
        for (seconds, text) in [
            (0.0, "0us"),
            (0.97e-6, "0.97us"),
            (81e-6, "81us"),
            (3.21e-3, "3.21ms"),
            (45.6e-3, "45.6ms"),
            (0.789, "789ms"),
            (1.204, "1.20s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
    }
}
