//! What is wrong with an expression, where, and what was perhaps meant.

use std::fmt;
use std::sync::Arc;

/// One thing that is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Line, from 1.
    pub line: usize,
    /// Character within the line, from 1.
    pub column: usize,
    /// In words, cel-go's where it has some.
    pub message: String,
    /// A name that exists and is close to the one that does not.
    pub suggestion: Option<String>,
    /// The type in which a field was looked for and is not.
    pub object: Option<Arc<str>>,
    /// Whether it stands in a branch of `?:`, so that it may never be evaluated.
    pub conditional: bool,
}

impl Issue {
    /// An issue at a byte offset of the source.
    pub(crate) fn at(source: &str, offset: u32, message: impl Into<String>) -> Self {
        let before = source.get(..offset as usize).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: message.into(),
            suggestion: None,
            object: None,
            conditional: false,
        }
    }

    /// With the closest of `names`, if one is close.
    pub(crate) fn suggesting<'n>(mut self, name: &str, names: impl Iterator<Item = &'n str>) -> Self {
        let near = (name.chars().count() / 3).max(1);
        self.suggestion = names
            .filter(|candidate| !candidate.contains(['_', '@', '!', '-', '?']))
            .map(|candidate| (distance(name, candidate), candidate))
            .filter(|(distance, _)| (1..=near).contains(distance))
            .min()
            .map(|(_, candidate)| candidate.to_owned());
        self
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Issue {}

/// Insertions, deletions and replacements from one name to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Issue, distance};

    #[test]
    fn counts_lines_and_characters() {
        let issue = Issue::at("a &&\n 'é' + b", 11, "x");
        assert_eq!((issue.line, issue.column), (2, 6));
    }

    #[test]
    fn measures_distance() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
    }

    #[test]
    fn suggests_only_what_is_close() {
        let suggest = |name| Issue::at("", 0, "").suggesting(name, ["startsWith", "size"].into_iter()).suggestion;
        assert_eq!(suggest("startWith").as_deref(), Some("startsWith"));
        assert_eq!(suggest("banana"), None);
    }
}
