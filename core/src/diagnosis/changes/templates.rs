//! Templates of log lines: what varies is masked, lines that read alike are counted as one. Quoted text and the values of
//! `key=value` pairs are masked too, because there a stranger's words stand.

use std::collections::BTreeMap;

use super::words::clipped;

/// Longest part of a line that is read, in letters.
const MAX_LETTERS: usize = 512;
/// Most templates that are kept apart; what comes later is one more template.
const MAX_TEMPLATES: usize = 2_000;
/// Stands for what varies.
const MASK: &str = "<*>";

/// The template of `line`, in small letters.
#[must_use]
pub fn template(line: &str) -> String {
    let plain = without_quotes(clipped(line, MAX_LETTERS));
    let mut words: Vec<String> = Vec::new();
    for word in plain.split_whitespace() {
        let masked = mask(word);
        // Several in a row vary in number, too.
        if masked != MASK || words.last().is_none_or(|last| last != MASK) {
            words.push(masked);
        }
    }
    words.join(" ")
}

/// Quotes that open at a word's beginning and close again are masked with what they hold.
fn without_quotes(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    let mut last = ' ';
    while let Some(letter) = rest.chars().next() {
        let tail = rest.get(letter.len_utf8()..).unwrap_or_default();
        let opens = matches!(letter, '"' | '\'' | '`') && !last.is_alphanumeric();
        if let Some(end) = opens.then(|| tail.find(letter)).flatten() {
            kept.push_str(MASK);
            rest = tail.get(end + letter.len_utf8()..).unwrap_or_default();
            last = letter;
            continue;
        }
        kept.push(letter);
        last = letter;
        rest = tail;
    }
    kept
}

fn mask(word: &str) -> String {
    if let Some((key, value)) = word.split_once('=')
        && !key.is_empty()
        && !value.is_empty()
        && key.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.'))
    {
        return format!("{}={MASK}", key.to_lowercase());
    }
    let hexadecimal = word.len() >= 8 && word.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-');
    let digits = word.chars().filter(char::is_ascii_digit).count();
    // Short names may end in figures, as `x509` does.
    let name = digits <= 3 && word.starts_with(char::is_alphabetic);
    if hexadecimal || !name && digits * 2 > word.chars().filter(|letter| letter.is_alphanumeric()).count() {
        return MASK.to_owned();
    }
    let mut kept = String::with_capacity(word.len());
    let mut number = false;
    for letter in word.chars() {
        if letter.is_ascii_digit() {
            if !number {
                kept.push('#');
            }
        } else {
            kept.extend(letter.to_lowercase());
        }
        number = letter.is_ascii_digit();
    }
    kept
}

/// How often a template was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Before the incident.
    pub before: u64,
    /// In it.
    pub during: u64,
}

/// Counts templates of one source; bounded in number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Miner {
    templates: BTreeMap<String, Seen>,
    others: Seen,
}

// === impl Miner ===

impl Miner {
    /// Counts one line.
    pub fn add(&mut self, line: &str, during: bool) {
        let template = template(line);
        let full = self.templates.len() >= MAX_TEMPLATES && !self.templates.contains_key(&template);
        let seen = if full { &mut self.others } else { self.templates.entry(template).or_default() };
        let count = if during { &mut seen.during } else { &mut seen.before };
        *count = count.saturating_add(1);
    }

    /// Templates that came up or at least doubled, with how often they were seen in the incident.
    pub fn risen(&self) -> impl Iterator<Item = (&str, u64)> {
        self.templates.iter().filter(|(_, seen)| seen.during > seen.before.saturating_mul(2)).map(|(template, seen)| (template.as_str(), seen.during))
    }

    /// What did not fit the bound.
    #[must_use]
    pub fn others(&self) -> Seen {
        self.others
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_varies_and_what_strangers_say_is_masked() {
        assert_eq!(template("Waited 220ms for 10.0.0.7:5432 id=abc"), "waited <*> for <*> id=<*>");
        assert_eq!(template("request 4f0e-88ab-77aa by \"Mozilla x509: certificate has expired\" failed"), "request <*> by <*> failed");
        assert_eq!(template("can't stop"), "can't stop");
        assert_eq!(template("retry 3 of 5 to host-17"), "retry <*> of <*> to host-#");
    }

    #[test]
    fn only_what_rose_is_told_and_the_number_kept_is_bounded() {
        let mut miner = Miner::default();
        for _ in 0..3 {
            miner.add("usual", false);
            miner.add("usual", true);
            miner.add("new", true);
        }
        assert_eq!(miner.risen().collect::<Vec<_>>(), [("new", 3)]);
        for number in 0..10_000_u32 {
            let name: String = number.to_string().chars().filter_map(|digit| char::from_u32(digit as u32 + 49)).collect();
            miner.add(&name, true);
        }
        assert!(miner.templates.len() <= MAX_TEMPLATES && miner.others().during > 0);
    }

    proptest! {
        #[test]
        fn any_text_has_a_short_template(line in any::<String>()) {
            prop_assert!(template(&line).chars().count() <= 4 * MAX_LETTERS);
        }
    }
}
