//! `format`: names and values of well-known shapes, with the server's own words for what is wrong with them.
//!
//! Shapes that are a regular language are matched by hand: the patterns are fixed, and their texts appear in messages anyway.

use crate::cel::library::golang;
use crate::cel::library::url::parsed as url;

/// A named format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One DNS label, digits first allowed.
    Dns1123Label,
    /// Labels joined by dots.
    Dns1123Subdomain,
    /// One DNS label that starts with a letter.
    Dns1035Label,
    /// A name with an optional DNS prefix, as label keys.
    QualifiedName,
    /// What may start a generated label.
    Dns1123LabelPrefix,
    /// What may start a generated subdomain.
    Dns1123SubdomainPrefix,
    /// What may start a generated label that starts with a letter.
    Dns1035LabelPrefix,
    /// Values of labels.
    LabelValue,
    /// Absolute URLs.
    Uri,
    /// With or without dashes.
    Uuid,
    /// Base64.
    Byte,
    /// RFC 3339 dates.
    Date,
    /// RFC 3339 times.
    Datetime,
}

/// Every format: its name in the language, its own name, and the length of pattern that its cost is counted by.
pub(crate) const FORMATS: [(&str, &str, u64, Format); 13] = [
    ("dns1123Label", "DNS1123Label", 30, Format::Dns1123Label),
    ("dns1123Subdomain", "DNS1123Subdomain", 60, Format::Dns1123Subdomain),
    ("dns1035Label", "DNS1035Label", 30, Format::Dns1035Label),
    ("qualifiedName", "QualifiedName", 60, Format::QualifiedName),
    ("dns1123LabelPrefix", "DNS1123LabelPrefix", 30, Format::Dns1123LabelPrefix),
    ("dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", 60, Format::Dns1123SubdomainPrefix),
    ("dns1035LabelPrefix", "DNS1035LabelPrefix", 30, Format::Dns1035LabelPrefix),
    ("labelValue", "LabelValue", 40, Format::LabelValue),
    ("uri", "URI", 1103, Format::Uri),
    ("uuid", "uuid", 70, Format::Uuid),
    ("byte", "byte", 84, Format::Byte),
    ("date", "date", 71, Format::Date),
    ("datetime", "datetime", 71, Format::Datetime),
];

const NAME_LENGTH: usize = 63;
const SUBDOMAIN_LENGTH: usize = 253;
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_WORDS: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

impl Format {
    pub(crate) fn named(name: &str) -> Option<Self> {
        FORMATS.iter().find(|(key, ..)| *key == name).map(|(.., format)| *format)
    }

    fn row(self) -> Option<&'static (&'static str, &'static str, u64, Self)> {
        FORMATS.iter().find(|(.., format)| *format == self)
    }

    /// The name that the format calls itself.
    pub(crate) fn name(self) -> &'static str {
        self.row().map_or("", |(_, name, ..)| name)
    }

    /// The length of pattern that its cost is counted by.
    pub(crate) fn pattern_length(self) -> u64 {
        self.row().map_or(0, |(_, _, length, _)| *length)
    }

    /// What is wrong with the text; nothing when it is valid.
    pub(crate) fn validate(self, text: &str) -> Vec<String> {
        match self {
            Self::Dns1123Label => dns1123_label(text),
            Self::Dns1123Subdomain => dns1123_subdomain(text),
            Self::Dns1035Label => dns1035_label(text),
            Self::QualifiedName => qualified_name(text),
            Self::Dns1123LabelPrefix => dns1123_label(&masked(text)),
            Self::Dns1123SubdomainPrefix => dns1123_subdomain(&masked(text)),
            Self::Dns1035LabelPrefix => dns1035_label(&masked(text)),
            Self::LabelValue => label_value(text),
            Self::Uri => url::check(text, url::Colons::Lenient).err().into_iter().collect(),
            Self::Uuid => problem(is_uuid(text), "does not match the UUID format"),
            Self::Byte => problem(is_base64(text), "invalid base64"),
            Self::Date => problem(is_date(text), "invalid date"),
            Self::Datetime => problem(is_datetime(text), "invalid datetime"),
        }
    }
}

fn problem(valid: bool, message: &str) -> Vec<String> {
    if valid { Vec::new() } else { vec![message.to_owned()] }
}

/// A trailing dash is covered, and the character before it with it.
fn masked(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let mut bytes = rest.as_bytes().to_vec();
            bytes.pop();
            bytes.push(b'a');
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => text.to_owned(),
    }
}

fn too_long(length: usize) -> String {
    format!("must be no more than {length} characters")
}

fn unlike(words: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}'")).collect();
    format!("{words} (e.g. {}, regex used for validation is '{pattern}')", examples.join(",  or "))
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(lower) && bytes.last().copied().is_some_and(lower) && bytes.iter().all(|b| lower(*b) || *b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// Also the rule for names of namespaces.
pub(crate) fn dns1123_label(text: &str) -> Vec<String> {
    let mut problems = problem(text.len() <= NAME_LENGTH, &too_long(NAME_LENGTH));
    if !is_label(text) {
        problems.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            unlike(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    problems
}

/// Also the rule for names of service accounts.
pub(crate) fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut problems = problem(text.len() <= SUBDOMAIN_LENGTH, &too_long(SUBDOMAIN_LENGTH));
    if !is_subdomain(text) {
        problems.push(unlike(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN,
            &["example.com"],
        ));
    }
    problems
}

fn dns1035_label(text: &str) -> Vec<String> {
    let mut problems = problem(text.len() <= NAME_LENGTH, &too_long(NAME_LENGTH));
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        problems.push(unlike(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            LABEL_1035,
            &["my-name", "abc-123"],
        ));
    }
    problems
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn qualified_name(text: &str) -> Vec<String> {
    let shape = || unlike(QUALIFIED_WORDS, QUALIFIED, &["MyName", "my.name", "123-abc"]);
    let mut problems = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                problems.extend(dns1123_subdomain(prefix).into_iter().map(|p| format!("prefix part {p}")));
            }
            *name
        }
        _ => return vec![format!("a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')", shape())],
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > NAME_LENGTH {
        problems.push(format!("name part {}", too_long(NAME_LENGTH)));
    }
    if !is_qualified(name) {
        problems.push(format!("name part {}", shape()));
    }
    problems
}

fn label_value(text: &str) -> Vec<String> {
    let mut problems = problem(text.len() <= NAME_LENGTH, &too_long(NAME_LENGTH));
    if !text.is_empty() && !is_qualified(text) {
        problems.push(unlike(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({QUALIFIED})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    problems
}

fn is_uuid(text: &str) -> bool {
    let mut rest = text.as_bytes();
    [8, 4, 4, 4, 12].iter().enumerate().all(|(i, &length)| {
        if i > 0 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
        let Some((group, after)) = rest.split_at_checked(length) else { return false };
        rest = after;
        // Upstream ignores case as Unicode does, under which no other character folds to one of these.
        group.iter().all(u8::is_ascii_hexdigit)
    }) && rest.is_empty()
}

/// Padded base64 of the standard alphabet; an empty text is none.
fn is_base64(text: &str) -> bool {
    let bytes = text.as_bytes();
    let padding = bytes.iter().rev().take_while(|b| **b == b'=').count();
    let digit = |b: &u8| b.is_ascii_alphanumeric() || b"+/".contains(b);
    !bytes.is_empty() && bytes.len().is_multiple_of(4) && padding <= 2 && bytes[..bytes.len() - padding].iter().all(digit)
}

fn two_digits(text: &[u8]) -> Option<u32> {
    match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    }
}

fn is_date(text: &str) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else { return false };
    let (Some(century), Some(year), Some(month), Some(day)) = (two_digits(&[y1, y2]), two_digits(&[y3, y4]), two_digits(&[m1, m2]), two_digits(&[d1, d2]))
    else {
        return false;
    };
    let year = century * 100 + year;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// The time's part after a second "T" is not looked at, and any character may stand before a fraction: so it is upstream.
fn is_datetime(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    is_date(date) && is_time(time)
}

fn is_time(text: &str) -> bool {
    let Some((clock, mut rest)) = text.as_bytes().split_at_checked(8) else { return false };
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *clock else { return false };
    let within = |a: u8, b: u8, most: u32| two_digits(&[a, b]).is_some_and(|n| n <= most);
    if !(within(h1, h2, 23) && within(m1, m2, 59) && within(s1, s2, 59)) {
        return false;
    }
    if !is_offset(rest) {
        let Some(first) = text.get(8..).and_then(|t| t.chars().next()).filter(|c| *c != '\n') else { return false };
        rest = &rest[first.len_utf8()..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = &rest[digits..];
    }
    is_offset(rest)
}

fn is_offset(text: &[u8]) -> bool {
    match text {
        b"z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => two_digits(&[*h1, *h2]).and(two_digits(&[*m1, *m2])).is_some(),
        _ => false,
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "format({})", golang::quote(self.name()))
    }
}

#[cfg(test)]
mod tests;
