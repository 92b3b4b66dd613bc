//! The report as one page that needs nothing else: no network, and no script to be read.
//!
//! A script filters what is shown; without it all of it is. Links lead to files of the bundle beside the page. Whatever a
//! subject may have written is escaped, and the page's own policy lets nothing be loaded.

mod latency;
mod page;
mod results;
mod timeline;

use std::fmt::{Display, Write};

use crate::model::Report;
use crate::text::one_line;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("filter.js");
/// Nothing is loaded from anywhere, also if somebody got markup in.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// Renders the report.
pub fn html(report: &Report) -> String {
    let mut out = Page::default();
    let title = format!(
        "{} {}",
        report.subject.project,
        report
            .subject
            .version
            .as_deref()
            .unwrap_or("(version unknown)")
    );
    out.line(format_args!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>KMS v2: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>",
        escape(&title)
    ));
    page::head(&mut out, report, &title);
    results::failures(&mut out, report);
    results::requirements(&mut out, report);
    timeline::section(&mut out, report);
    latency::section(&mut out, report);
    page::trust(&mut out, report);
    results::not_shown(&mut out, report);
    page::circumstances(&mut out, report);
    page::files(&mut out, report);
    out.line(format_args!(
        "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>"
    ));
    out.0
}

/// A page being written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{text}");
    }

    /// Opens a section; [`Self::close`] ends it.
    fn open(&mut self, id: &str, title: &str) {
        self.line(format_args!("<section id=\"{id}\">\n<h2>{title}</h2>"));
    }

    fn close(&mut self) {
        self.line("</section>");
    }

    /// A list of names and values, escaped here; those without a value are left out.
    fn facts(&mut self, facts: &[(&str, Option<String>)]) {
        self.line("<dl class=\"facts\">");
        for (name, value) in facts {
            if let Some(value) = value {
                let value = escape(value);
                self.line(format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>"));
            }
        }
        self.line("</dl>");
    }

    /// A table whose cells are markup, or nothing without rows.
    fn table(&mut self, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        let cells = |tag: &str, cells: &[&str]| -> String {
            let cells = cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>"));
            cells.collect()
        };
        self.line(format_args!(
            "<div class=\"wide\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>",
            cells("th", head)
        ));
        for row in rows {
            let row: Vec<&str> = row.iter().map(String::as_str).collect();
            self.line(format_args!("<tr>{}</tr>", cells("td", &row)));
        }
        self.line("</tbody>\n</table></div>");
    }
}

/// Text and attribute values, on one line.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => {} // no characters
            other => escaped.push(other),
        }
    }
    escaped
}

/// A text of ours: what stands in backticks is code.
fn prose(text: &str) -> String {
    let parts: Vec<String> = text.split('`').map(escape).collect();
    if parts.len().is_multiple_of(2) {
        return escape(text);
    }
    let parts = parts.iter().enumerate().map(|(at, part)| {
        if at % 2 == 1 {
            format!("<code>{part}</code>")
        } else {
            part.clone()
        }
    });
    parts.collect()
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// A status as a word in its colour.
fn status(status: kms_judge::CheckStatus) -> String {
    let word = crate::text::status(status);
    format!(
        "<span class=\"status {word}\">{}</span>",
        word.replace('_', " ")
    )
}

/// An id for an element, of letters that need no escaping.
fn anchor(kind: &str, name: &str) -> String {
    let name = name.chars().map(|character| {
        if character.is_ascii_alphanumeric() || character == '-' {
            character
        } else {
            '-'
        }
    });
    format!("{kind}-{}", name.collect::<String>())
}

/// A link to a file of the bundle; a path that leads out of it is no link.
fn file(path: &str) -> String {
    let shown = code(path);
    let inside = !path.starts_with('/')
        && !path.contains(':')
        && path.split('/').all(|part| !part.is_empty() && part != "..");
    if inside {
        let target: String = path
            .bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect();
        format!("<a href=\"{target}\">{shown}</a>")
    } else {
        shown
    }
}

/// A duration that is not broken at a line's end.
fn duration(ns: u64) -> String {
    crate::text::duration(ns).replace(' ', "\u{a0}")
}

/// A duration where there is one.
fn took(ns: Option<u64>) -> String {
    ns.map(duration).unwrap_or_default()
}
