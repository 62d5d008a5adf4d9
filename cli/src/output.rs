//! How things look: tables, marks and emphasis. Colours are stripped by the stream when it is no terminal; nothing here
//! decides anything.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default();

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

pub(crate) fn bold(text: &str) -> String {
    styled(BOLD, text)
}

pub(crate) fn dim(text: &str) -> String {
    styled(DIM, text)
}

pub(crate) fn good(text: &str) -> String {
    styled(GOOD, text)
}

pub(crate) fn bad(text: &str) -> String {
    styled(BAD, text)
}

pub(crate) fn warn(text: &str) -> String {
    styled(WARN, text)
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Rows under a header, padded to the widest cell; the last column is not padded.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| visible(cell));
        cells.chain(header.get(column).map(|title| title.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>, style: Option<Style>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell}{:fill$}   ", "", fill = width.saturating_sub(visible(cell)));
        }
        out.push_str(&style.map_or_else(|| text.trim_end().to_owned(), |style| styled(style, text.trim_end())));
        out.push('\n');
    };
    line(&mut header.iter().copied(), Some(BOLD));
    for row in rows {
        line(&mut row.iter().map(String::as_str), None);
    }
    out
}

/// Characters of a cell that take up room.
fn visible(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).map(|part| part.chars().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_whatever_their_colours() {
        let text = table(&["", "NAME"], &[vec![bad("error"), "a".into()], vec!["x".into(), "b".into()]]);
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "        NAME\nerror   a\nx       b\n");
    }
}
