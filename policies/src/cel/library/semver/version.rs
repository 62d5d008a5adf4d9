//! `semver`: versions as the blang library reads them.
//!
//! Its grammar is not that of the `semver` crate (numeric identifiers must fit 64 bits, texts of errors differ), so it is read here.
//! Build metadata is checked and then forgotten: it takes no part in any comparison.

use std::cmp::Ordering;

use crate::cel::library::golang::quote;

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SemverError {
    /// No text.
    #[error("Version string empty")]
    Empty,
    /// Fewer than three parts.
    #[error("No Major.Minor.Patch elements found")]
    Parts,
    /// A part with other characters than it may have.
    #[error("Invalid character(s) found in {} {}", .0, quote(.1))]
    Characters(&'static str, String),
    /// A number that starts with a zero.
    #[error("{} must not contain leading zeroes {}", .0, quote(.1))]
    LeadingZeroes(&'static str, String),
    /// A number that is missing.
    #[error("strconv.ParseUint: parsing \"\": invalid syntax")]
    NoNumber,
    /// A number that does not fit 64 bits.
    #[error("strconv.ParseUint: parsing {}: value out of range", quote(.0))]
    Range(String),
    /// An empty prerelease identifier.
    #[error("Prerelease is empty")]
    EmptyPrerelease,
    /// An empty build identifier.
    #[error("Build meta data is empty")]
    EmptyBuild,
    /// A shortened version may not carry more.
    #[error("short version cannot contain PreRelease/Build meta data")]
    Short,
}

/// A version; equal versions may differ in build metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Semver {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) patch: u64,
    pre: Vec<Identifier>,
}

/// Numbers sort before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Semver {
    pub(crate) fn parse(text: &str) -> Result<Self, SemverError> {
        if text.is_empty() {
            return Err(SemverError::Empty);
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return Err(SemverError::Parts) };
        let major = number(major, "major number", "Major number")?;
        let minor = number(minor, "minor number", "Minor number")?;
        let (rest, build) = cut(rest, '+');
        let (patch, pre) = cut(rest, '-');
        let patch = number(patch, "patch number", "Patch number")?;
        let pre = pre.map_or_else(|| Ok(Vec::new()), |pre| pre.split('.').map(identifier).collect())?;
        build.map_or(Ok(()), |build| build.split('.').try_for_each(check_build))?;
        Ok(Self { major, minor, patch, pre })
    }

    /// Reads leniently: a leading "v", leading zeros, and one or two numbers alone are accepted.
    pub(crate) fn parse_normalized(text: &str) -> Result<Self, SemverError> {
        let parts: Vec<&str> = text.strip_prefix('v').unwrap_or(text).splitn(3, '.').collect();
        if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err(SemverError::Short);
        }
        let mut parts: Vec<String> = parts.into_iter().map(without_zeros).collect();
        parts.resize(3, "0".to_owned());
        Self::parse(&parts.join("."))
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch)).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => self.pre.cmp(&other.pre),
        })
    }
}

impl std::fmt::Display for Semver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (i, identifier) in self.pre.iter().enumerate() {
            f.write_str(if i == 0 { "-" } else { "." })?;
            match identifier {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Word(word) => f.write_str(word)?,
            }
        }
        Ok(())
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Keeps one zero where a digit must stand.
fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|c: char| c.is_ascii_digit()) { rest.to_owned() } else { format!("0{rest}") }
}

fn number(text: &str, part: &'static str, title: &'static str) -> Result<u64, SemverError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SemverError::Characters(part, text.to_owned()));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(SemverError::LeadingZeroes(title, text.to_owned()));
    }
    if text.is_empty() {
        return Err(SemverError::NoNumber);
    }
    text.parse().map_err(|_| SemverError::Range(text.to_owned()))
}

fn alphanumeric(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn identifier(text: &str) -> Result<Identifier, SemverError> {
    if text.is_empty() {
        return Err(SemverError::EmptyPrerelease);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return number(text, "prerelease", "Numeric PreRelease version").map(Identifier::Number);
    }
    if alphanumeric(text) { Ok(Identifier::Word(text.to_owned())) } else { Err(SemverError::Characters("prerelease", text.to_owned())) }
}

fn check_build(text: &str) -> Result<(), SemverError> {
    match text {
        "" => Err(SemverError::EmptyBuild),
        text if alphanumeric(text) => Ok(()),
        text => Err(SemverError::Characters("build meta data", text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
