//! What of a line of a log stays the same: words that vary are masked, and so is quoted text, where strangers speak.

/// Longest part of a line that is read, in letters, and its words.
const MAX_LETTERS: usize = 512;
const MAX_WORDS: usize = 48;
const MASK: &str = "*";

/// How bad a line says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Severity {
    Other,
    Warning,
    Error,
}

// === impl Severity ===

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// By the first words of a template that name a level.
    fn of(template: &str) -> Self {
        let words = template.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(16);
        let level = |word: &str| match word {
            "error" | "err" | "fatal" | "panic" | "critical" | "crit" | "exception" | "traceback" | "severe" => Some(Self::Error),
            "warn" | "warning" => Some(Self::Warning),
            "info" | "debug" | "trace" | "notice" => Some(Self::Other),
            _ => None,
        };
        words.into_iter().find_map(level).unwrap_or(Self::Other)
    }
}

/// The template of `line` in small letters, and its severity.
pub(crate) fn template(line: &str) -> (String, Severity) {
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    for word in line.chars().take(MAX_LETTERS).collect::<String>().split_whitespace().take(MAX_WORDS) {
        let masked = mask(word, &mut quote);
        // Several in a row vary in number, too.
        if masked != MASK || words.last().is_none_or(|last| !last.ends_with(MASK)) {
            words.push(masked);
        }
    }
    let template = words.join(" ");
    let severity = Severity::of(&template);
    (template, severity)
}

/// `key=value` keeps its key, a level its value; what has digits, or stands in quotes, is masked.
fn mask(word: &str, quote: &mut Option<char>) -> String {
    if let Some(open) = *quote {
        if word.ends_with(open) {
            *quote = None;
        }
        return MASK.to_owned();
    }
    let is_quote = |c: &char| matches!(c, '"' | '\'' | '`');
    let (key, value) = word.split_once('=').unwrap_or(("", word));
    let has_digits = |text: &str| text.chars().any(|c| c.is_ascii_digit());
    let masked = || if key.is_empty() || has_digits(key) { MASK.to_owned() } else { format!("{}={MASK}", key.to_lowercase()) };
    if let Some(open) = value.chars().next().filter(is_quote) {
        if value.len() == 1 || !value.ends_with(open) {
            *quote = Some(open);
        }
        return masked();
    }
    let is_level = matches!(key, "level" | "severity" | "lvl");
    if !key.is_empty() && !is_level {
        return masked();
    }
    if has_digits(word) { MASK.to_owned() } else { word.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_varies_and_what_strangers_say_is_masked() {
        for (line, expected, severity) in [
            ("ERROR waited 220ms for 10.0.0.7:5432 id=abc", "error waited * for * id=*", Severity::Error),
            ("2026-01-01T00:00:00Z 17 level=warn msg=\"disk is full, restart orders\" user=x", "* level=warn msg=* user=*", Severity::Warning),
            ("request by \"Mozilla error panic\" was served", "request by * was served", Severity::Other),
            ("info: no error", "info: no error", Severity::Other),
            ("", "", Severity::Other),
        ] {
            assert_eq!(template(line), (expected.to_owned(), severity), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_short_template_without_digits(line in any::<String>()) {
            let (template, _) = template(&line);
            prop_assert!(template.chars().count() <= 4 * MAX_LETTERS && !template.chars().any(|c| c.is_ascii_digit()));
        }
    }
}
