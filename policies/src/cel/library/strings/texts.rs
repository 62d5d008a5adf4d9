//! `charAt`, `indexOf`, `replace`, `split`, `substring` and the other string functions of cel-go's extension, version 2.
//!
//! Positions count characters, as there. A function that can fail returns upstream's sentence. `format` is in [`format`].

use crate::cel::library::golang::short_escape;

/// What a search makes of an offset past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PastEnd {
    /// Nothing is found there but the empty text, which is found anywhere, at negative offsets too.
    Unchecked,
    /// The empty text is found at the end, and never at negative offsets: cel-go since 0.29, Kubernetes since 1.37.
    Clamped,
    /// It is an error, whatever is sought: the specification, which cel-go does not follow.
    Refused,
}

fn out_of_range<T>(index: i64) -> Result<T, String> {
    Err(format!("index out of range: {index}"))
}

/// Byte position of a character position; the end counts as one.
fn position(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len())).nth(index)
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

pub(crate) fn char_at(text: &str, index: i64) -> Result<String, String> {
    match position(text, index) {
        Some(at) => Ok(text[at..].chars().next().map(String::from).unwrap_or_default()),
        None => out_of_range(index),
    }
}

fn empty_needle(text: &str, offset: i64, rule: PastEnd) -> Result<i64, String> {
    match rule {
        PastEnd::Unchecked => Ok(offset),
        PastEnd::Clamped | PastEnd::Refused if offset < 0 => out_of_range(offset),
        PastEnd::Clamped | PastEnd::Refused => Ok(offset.min(count(text))),
    }
}

fn refused(text: &str, offset: i64, rule: PastEnd) -> bool {
    rule == PastEnd::Refused && offset > count(text)
}

pub(crate) fn index_of(text: &str, needle: &str, offset: i64, rule: PastEnd) -> Result<i64, String> {
    if refused(text, offset, rule) {
        return out_of_range(offset);
    }
    if needle.is_empty() {
        return empty_needle(text, offset, rule);
    }
    if offset < 0 {
        return out_of_range(offset);
    }
    let Some(start) = position(text, offset) else { return Ok(-1) };
    Ok(text[start..].find(needle).map_or(-1, |at| offset + count(&text[start..start + at])))
}

/// Without an offset, the search starts at the end.
pub(crate) fn last_index_of(text: &str, needle: &str, offset: Option<i64>, rule: PastEnd) -> Result<i64, String> {
    let length = count(text);
    let Some(offset) = offset else {
        return Ok(text.rfind(needle).map_or(-1, |at| count(&text[..at])));
    };
    if refused(text, offset, rule) {
        return out_of_range(offset);
    }
    if needle.is_empty() {
        return empty_needle(text, offset, rule);
    }
    if offset < 0 {
        return out_of_range(offset);
    }
    if offset >= length {
        return Ok(-1);
    }
    // A match may start at the offset and reach past it.
    let end = position(text, offset.saturating_add(count(needle))).unwrap_or(text.len());
    Ok(text[..end].rfind(needle).map_or(-1, |at| count(&text[..at])))
}

pub(crate) fn replace(text: &str, old: &str, new: &str, limit: i64) -> String {
    usize::try_from(limit).map_or_else(|_| text.replace(old, new), |limit| text.replacen(old, new, limit))
}

/// With a limit of `n`, the last part is the unsplit rest.
pub(crate) fn split<'t>(text: &'t str, separator: &str, limit: i64) -> Vec<&'t str> {
    let limit = match usize::try_from(limit) {
        Ok(0) => return Vec::new(),
        Ok(limit) => limit,
        Err(_) => usize::MAX,
    };
    if !separator.is_empty() {
        return text.splitn(limit, separator).collect();
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 == limit {
            parts.push(rest);
            break;
        }
        let (part, after) = rest.split_at(c.len_utf8());
        parts.push(part);
        rest = after;
    }
    parts
}

pub(crate) fn substring(text: &str, start: i64) -> Result<&str, String> {
    position(text, start).map_or_else(|| out_of_range(start), |at| Ok(&text[at..]))
}

pub(crate) fn substring_range(text: &str, start: i64, end: i64) -> Result<&str, String> {
    if start > end {
        return Err(format!("invalid substring range. start: {start}, end: {end}"));
    }
    let Some(from) = position(text, start) else { return out_of_range(start) };
    let Some(to) = position(text, end) else { return out_of_range(end) };
    Ok(&text[from..to])
}

/// Without white space at both ends, as Unicode has it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim()
}

pub(crate) fn reverse(text: &str) -> String {
    text.chars().rev().collect()
}

/// In double quotes, with the escapes that the language itself has; other characters stand for themselves.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match short_escape(c) {
            Some(escaped) => out.push_str(escaped),
            None => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
