//! What a failed validation says: its message expression if that is one usable line, else its message, else its expression.

use super::spec::Validation;

/// Longest result of a message expression that is used, in bytes.
const MAX_EVALUATED: usize = 5 * 1024;
/// Longest text that leaves the engine, in bytes. Stored messages and quoted expressions have no bound of their own.
pub(crate) const MAX_TEXT: usize = 8 * 1024;

/// The message of a failed validation; `evaluated` is what its message expression came to, if that was a string.
pub(crate) fn of(validation: &Validation, evaluated: Option<&str>) -> String {
    let usable = |text: &&str| !text.is_empty() && text.len() <= MAX_EVALUATED && !text.contains('\n');
    let stored = || validation.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
    match evaluated.map(str::trim).filter(usable).or_else(stored) {
        Some(text) => bounded(text, MAX_TEXT),
        None => bounded(&format!("failed expression: {}", validation.expression.trim()), MAX_TEXT),
    }
}

/// `text`, cut at a character's border where it is longer than `most` bytes, with a mark that it was.
pub(crate) fn bounded(text: &str, most: usize) -> String {
    const MARK: &str = " ...";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(MARK.len()));
    format!("{}{MARK}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod cases {
    use super::*;

    fn check(expression: &str, message: Option<&str>, evaluated: Option<&str>, want: &str) {
        let validation = Validation { expression: expression.into(), message: message.map(str::to_owned), message_expression: None, reason: None };
        assert_eq!(of(&validation, evaluated), want, "{expression:?} {message:?} {evaluated:?}");
    }

    #[test]
    fn the_first_usable_text_is_said() {
        let long = "x".repeat(MAX_EVALUATED + 1);
        let just = "x".repeat(MAX_EVALUATED);
        check(" a == b ", None, None, "failed expression: a == b");
        check("a", Some("said "), None, "said");
        check("a", Some("said"), Some("evaluated message"), "evaluated message");
        check("a", None, Some(" evaluated message\t"), "evaluated message");
        check("a", Some("said"), Some(" "), "said");
        check("a", Some("said"), Some("hello\nthere"), "said");
        check("a", Some("said"), Some("hello\n"), "hello");
        check("a", Some("said"), Some(&long), "said");
        check("a", Some("said"), Some(&just), &just);
        check("a", Some("said"), Some(&format!(" {just} ")), &just);
        check("a", Some(" "), Some(""), "failed expression: a");
    }

    #[test]
    fn texts_are_bounded_at_a_character() {
        let cut = bounded(&"ä".repeat(10), 11);
        assert_eq!((cut.as_str(), cut.len()), ("äää ...", 10));
        assert_eq!(bounded("short", 5), "short");
    }
}
