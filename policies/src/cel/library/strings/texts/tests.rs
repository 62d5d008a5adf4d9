//! Positions, limits and the wording of errors.

use super::*;

#[test]
fn finds_forward() {
    for (text, needle, offset, found) in [
        ("tacocat", "ac", 0, 1),
        ("tacocat", "none", 0, -1),
        ("tacocat", "", 3, 3),
        ("tacocat", "a", 3, 5),
        ("tacocat", "at", 3, 5),
        ("ta©o©αT", "©", 0, 2),
        ("ta©o©αT", "©", 3, 4),
        ("ta©o©αT", "©αT", 3, 4),
        ("hello", "o", 5, -1),
        ("hello", "o", 99, -1),
        ("", "a", 0, -1),
    ] {
        assert_eq!(index_of(text, needle, offset, PastEnd::Unchecked), Ok(found), "{text} {needle} {offset}");
    }
    assert_eq!(index_of("a", "b", -1, PastEnd::Unchecked).unwrap_err(), "index out of range: -1");
    assert_eq!(index_of("a", "", -7, PastEnd::Unchecked), Ok(-7));
    assert_eq!(index_of("a", "", -7, PastEnd::Clamped).unwrap_err(), "index out of range: -7");
    assert_eq!([index_of("abc", "", 9, PastEnd::Unchecked), index_of("abc", "", 9, PastEnd::Clamped)], [Ok(9), Ok(3)]);
}

#[test]
fn finds_backward() {
    for (text, needle, offset, found) in [
        ("tacocat", "at", None, 5),
        ("tacocat", "", None, 7),
        ("tacocat", "", Some(4), 4),
        ("tacocat", "ac", Some(6), 1),
        ("tacocat", "at", Some(4), -1),
        ("tacocat", "at", Some(5), 5),
        ("ta©o©αT", "©", Some(3), 2),
        ("ta©o©αT", "©α", Some(4), 4),
        ("ta©o©αT", "©α", Some(3), -1),
        ("ab", "abc", None, -1),
        ("ab", "abc", Some(1), -1),
        ("hello", "l", Some(9), -1),
        ("aaaa", "aa", Some(1), 1),
    ] {
        assert_eq!(last_index_of(text, needle, offset, PastEnd::Unchecked), Ok(found), "{text} {needle} {offset:?}");
    }
    assert_eq!(last_index_of("a", "b", Some(-1), PastEnd::Unchecked).unwrap_err(), "index out of range: -1");
    assert_eq!(last_index_of("abc", "", Some(9), PastEnd::Clamped), Ok(3));
    assert_eq!(last_index_of("abc", "a", Some(9), PastEnd::Refused).unwrap_err(), "index out of range: 9");
    assert_eq!(index_of("abc", "a", 4, PastEnd::Refused).unwrap_err(), "index out of range: 4");
    assert_eq!(index_of("abc", "a", 3, PastEnd::Refused), Ok(-1));
}

#[test]
fn cuts() {
    assert_eq!([char_at("tÅ", 1), char_at("tÅ", 2)], [Ok("Å".to_owned()), Ok(String::new())]);
    assert_eq!(char_at("t", 2).unwrap_err(), "index out of range: 2");
    assert_eq!(char_at("t", -1).unwrap_err(), "index out of range: -1");
    assert_eq!([substring("tacocat", 4), substring("tacocat", 7), substring("ta©o©αT", 2)], [Ok("cat"), Ok(""), Ok("©o©αT")]);
    assert_eq!(substring("a", 2).unwrap_err(), "index out of range: 2");
    assert_eq!([substring_range("ta©o©αT", 2, 6), substring_range("abc", 3, 3)], [Ok("©o©α"), Ok("")]);
    assert_eq!(substring_range("abc", 2, 1).unwrap_err(), "invalid substring range. start: 2, end: 1");
    assert_eq!(substring_range("abc", -1, 1).unwrap_err(), "index out of range: -1");
    assert_eq!(substring_range("abc", 1, 40).unwrap_err(), "index out of range: 40");
    assert_eq!(trim(" \u{9}\u{a}\u{b}\u{c}\u{d}\u{85}\u{a0}\u{1680}\u{2000}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}text\u{200b} "), "text\u{200b}");
}

#[test]
fn splits() {
    for (text, separator, limit, parts) in [
        ("hello world", " ", -1, vec!["hello", "world"]),
        ("hello world events!", " ", 0, vec![]),
        ("hello world events!", " ", 1, vec!["hello world events!"]),
        ("o©o©o©o", "©", -1, vec!["o", "o", "o", "o"]),
        ("o©o©o©o", "©", 2, vec!["o", "o©o©o"]),
        ("héy", "", -1, vec!["h", "é", "y"]),
        ("héy", "", 2, vec!["h", "éy"]),
        ("héy", "", 9, vec!["h", "é", "y"]),
        ("", "", -1, vec![]),
        ("", ",", -1, vec![""]),
        ("a,", ",", -1, vec!["a", ""]),
    ] {
        assert_eq!(split(text, separator, limit), parts, "{text} {separator} {limit}");
    }
}

#[test]
fn replaces_and_quotes() {
    for (text, old, new, limit, result) in [
        ("12 days 12 hours", "{0}", "2", -1, "12 days 12 hours"),
        ("{0} days {0} hours", "{0}", "2", -1, "2 days 2 hours"),
        ("{0} days {0} hours", "{0}", "2", 1, "2 days {0} hours"),
        ("aa", "a", "b", 0, "aa"),
        ("é1", "", "_", -1, "_é_1_"),
        ("é1", "", "_", 2, "_é_1"),
        ("", "", "x", -1, "x"),
    ] {
        assert_eq!(replace(text, old, new, limit), result, "{text} {old} {limit}");
    }
    assert_eq!(quote("a\u{7}\n\u{0}é\"\\"), "\"a\\a\\n\u{0}é\\\"\\\\\"");
    assert_eq!(reverse("aé😁"), "😁éa");
}
