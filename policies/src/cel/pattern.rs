//! Regular expressions with the syntax and meaning of Go's `regexp`, on the `regex` crate.
//!
//! Patterns are read by [`syntax`], which knows what Go accepts and writes the same for the crate. Both search leftmost-first in
//! linear time, and skip an empty match that touches the one before it. Every pattern of the language is compiled here.

mod syntax;

use regex::{Regex, RegexBuilder};

use super::error::EvalError;

/// Most memory of one compiled pattern.
const SIZE_LIMIT: usize = 4 << 20;
/// Deepest nesting; what Go accepts beyond is refused.
const NEST_LIMIT: u32 = 500;

/// Compiles; the error is Go's sentence.
pub(crate) fn compile(pattern: &str) -> Result<Regex, EvalError> {
    let invalid = |reason: String| EvalError::invalid(format!("error parsing regexp: {reason}"));
    let translated = syntax::translate(pattern).map_err(|e| invalid(e.to_string()))?;
    let built = RegexBuilder::new(&translated).size_limit(SIZE_LIMIT).nest_limit(NEST_LIMIT).build();
    built.map_err(|_| invalid(format!("expression too large: `{pattern}`")))
}

#[cfg(test)]
mod tests;
