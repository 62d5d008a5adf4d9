//! Words of names, phrases of texts. Nothing here decides.

/// Longest text that is looked at.
const MAX_TEXT: usize = 4_096;

/// The words of a name or of a line of code in small letters: parted where letters, digits and humps begin.
pub(super) fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut last) = (Vec::new(), String::new(), ' ');
    let mut letters = text.chars().take(MAX_TEXT).peekable();
    while let Some(letter) = letters.next() {
        let hump = letter.is_uppercase() && (last.is_lowercase() || (last.is_uppercase() && letters.peek().is_some_and(|next| next.is_lowercase())));
        let parted = !letter.is_alphanumeric() || hump || (last.is_ascii_digit() != letter.is_ascii_digit());
        if parted && !word.is_empty() {
            all.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        last = letter;
    }
    if !word.is_empty() {
        all.push(word);
    }
    all
}

/// Whether every stem of `pattern` (parted by spaces) begins one of `words`.
pub(super) fn begins(words: &[String], pattern: &str) -> bool {
    pattern.split(' ').all(|stem| words.iter().any(|word| word.starts_with(stem)))
}

/// Whether `phrase` stands in `text` (both in small letters) where a word begins.
pub(super) fn mentions(text: &str, phrase: &str) -> bool {
    let mut rest = text;
    let mut before = None;
    while let Some(place) = rest.find(phrase) {
        let (head, tail) = rest.split_at(place);
        if !head.chars().next_back().or(before).is_some_and(char::is_alphanumeric) {
            return true;
        }
        let mut following = tail.chars();
        before = following.next();
        rest = following.as_str();
    }
    false
}

/// The beginning of `text`, cut between letters.
pub(super) fn clipped(text: &str, letters: usize) -> &str {
    text.char_indices().nth(letters).and_then(|(place, _)| text.get(..place)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_part_into_words_and_phrases_begin_where_words_begin() {
        assert_eq!(words("http_server_p99Ms HTTPServer5xx"), ["http", "server", "p", "99", "ms", "http", "server", "5", "xx"]);
        assert!(begins(&words("container_cpu_cfs_throttled_seconds"), "cpu throttl"));
        assert!(!begins(&words("outbound_calls"), "bound"));
        assert!(mentions("a pool exhausted", "pool"));
        assert!(!mentions("whirlpool", "pool"));
        assert!(mentions("whirlpool, pool", "pool"));
        assert_eq!(clipped("äöü", 2), "äö");
    }
}
