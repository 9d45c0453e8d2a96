//! The page in HTML: one file, nothing fetched, nothing run.

use std::fmt::Write;

use super::{Plot, Section, svg};
use crate::results::Results;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-top: 1px solid; padding-top: 1rem; overflow-wrap: anywhere; }
h3 { margin-bottom: .3rem; font-size: 1rem; }
svg { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #8884; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .85rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
.remark { border-left: 4px solid #d55e00; padding-left: .8rem; }
";

/// Text that HTML takes as text, in elements and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            _ => safe.push(letter),
        }
    }
    safe
}

/// All results on one page.
#[must_use]
pub fn html(all: &[Results]) -> String {
    let sections: Vec<Section> = all.iter().map(Section::of).collect();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>ambidex-bench</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>ambidex-bench</h1>\n<ul>\n"
    );
    for (index, section) in sections.iter().enumerate() {
        let title = escape(&section.title);
        let _ = writeln!(page, "<li><a href=\"#s{index}\">{title}</a></li>");
    }
    page += "</ul>\n";
    for (index, section) in sections.iter().enumerate() {
        write_section(&mut page, index, section);
    }
    page + "</body>\n</html>\n"
}

fn write_section(page: &mut String, index: usize, section: &Section) {
    let title = escape(&section.title);
    let _ = writeln!(page, "<section>\n<h2 id=\"s{index}\">{title}</h2>\n<dl>");
    for (name, value) in &section.context {
        let (name, value) = (escape(name), escape(value));
        let _ = writeln!(page, "<dt>{name}</dt><dd>{value}</dd>");
    }
    *page += "</dl>\n";
    for remark in &section.remarks {
        let _ = writeln!(page, "<p class=\"remark\">{}</p>", escape(remark));
    }
    for plot in &section.plots {
        let (title, drawn) = match plot {
            Plot::Lines(lines) => (&lines.title, svg::lines(lines)),
            Plot::Bars(bars) => (&bars.title, svg::bars(bars)),
        };
        let _ = write!(page, "<h3>{}</h3>\n{drawn}", escape(title));
    }
    *page += "<div class=\"wide\"><table>\n";
    for (index, row) in section.table.iter().enumerate() {
        let cell = if index == 0 { "th" } else { "td" };
        let cells = row
            .iter()
            .map(|text| format!("<{cell}>{}</{cell}>", escape(text)));
        let _ = writeln!(page, "<tr>{}</tr>", cells.collect::<String>());
    }
    *page += "</table></div>\n</section>\n";
}
