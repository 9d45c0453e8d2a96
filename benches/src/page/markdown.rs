//! The page in Markdown, without plots.

use std::fmt::Write;

use super::Section;
use crate::results::Results;

/// Text that stays in its cell and is no markup.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' => safe.push(' '),
            '<' => safe += "&lt;",
            '&' => safe += "&amp;",
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' => {
                safe.push('\\');
                safe.push(letter);
            }
            _ => safe.push(letter),
        }
    }
    safe
}

/// All results, one after the other.
#[must_use]
pub fn markdown(all: &[Results]) -> String {
    let mut page = "# ambidex-bench\n".to_owned();
    for section in all.iter().map(Section::of) {
        let _ = writeln!(page, "\n## {}\n", escape(&section.title));
        for (name, value) in &section.context {
            let _ = writeln!(page, "- {}: {}", escape(name), escape(value));
        }
        for remark in &section.remarks {
            let _ = writeln!(page, "\n**{}**", escape(remark));
        }
        page.push('\n');
        for (index, row) in section.table.iter().enumerate() {
            let cells = row.iter().map(|text| format!(" {} |", escape(text)));
            let _ = writeln!(page, "|{}", cells.collect::<String>());
            if index == 0 {
                let more = row.len().saturating_sub(1);
                let _ = writeln!(page, "|---|{}", "---:|".repeat(more));
            }
        }
    }
    page
}
