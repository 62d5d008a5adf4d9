//! Where Go and the crate differ, and where Go refuses.

use super::*;

fn matches(pattern: &str, text: &str) -> bool {
    compile(pattern).unwrap_or_else(|e| panic!("{e}")).is_match(text)
}

#[test]
fn classes_know_ascii_only() {
    for (pattern, text, found) in [
        (r"^\d$", "5", true),
        (r"^\d$", "٣", false),
        (r"^\D$", "٣", true),
        (r"^\w+$", "aZ_9", true),
        (r"^\w$", "é", false),
        (r"^\W$", "é", true),
        (r"^\s$", "\u{b}", false),
        (r"^\s+$", "\t\n\u{c}\r ", true),
        (r"^\S$", "\u{a0}", true),
        (r"^[\d\s]$", "٣", false),
        (r"^[^\d]$", "٣", true),
        (r"^[\W]$", "é", true),
        (r"\bé", "aé", true),
        (r"\Bé", "é", true),
        (r"^[[:word:]-]+$", "a-b_1", true),
        (r"^[[:^alpha:]]$", "1", true),
        (r"(?i)^k$", "\u{212a}", true),
        (r"(?i)^\w$", "\u{212a}", true),
        (r"^\pL$", "é", true),
        (r"^\p{Greek}$", "α", true),
        (r"^\P{Greek}$", "α", false),
        (r"^\p{^Greek}$", "α", false),
        (r"^\P{^Greek}$", "α", true),
        (r"^[\pN_]$", "٣", true),
    ] {
        assert_eq!(matches(pattern, text), found, "{pattern} {text:?}");
    }
}

#[test]
fn brackets_braces_and_escapes_are_gos() {
    for (pattern, text, found) in [
        ("^[[]$", "[", true),
        ("^[a[b]$", "[", true),
        ("^[]a]$", "]", true),
        ("^[^]a]$", "]", false),
        ("^[a&&b]$", "&", true),
        ("^[a~~b]$", "~", true),
        ("^[a-]$", "-", true),
        ("^[-a]$", "-", true),
        ("^[+--]$", ",", true),
        ("^a{,2}$", "a{,2}", true),
        ("^a{$", "a{", true),
        ("^{$", "{", true),
        ("^a{1a}$", "a{1a}", true),
        ("^a{01}$", "a{01}", true),
        ("^a{2,3}$", "aaa", true),
        ("^a{2,}?$", "aaa", true),
        (r"^\Qa.b\E$", "a.b", true),
        (r"^\Qa.b", "axb", false),
        (r"^\x41\x{1F600}\101\0$", "A😀A\0", true),
        (r"^\_\-\/$", "_-/", true),
        (r"^\a\f\n\r\t\v$", "\u{7}\u{c}\n\r\t\u{b}", true),
        ("^.$", "\n", false),
        ("(?s)^.$", "\n", true),
        ("^[^a]$", "\n", true),
        ("a$", "a\n", false),
        ("(?m)a$", "a\n", true),
        ("(?m)^b", "a\nb", true),
        (r"(?m)b\z", "b\n", false),
        ("(?P<n>a)(?<m>b)(?:c)(?i:D)e", "abcde", true),
        ("(?P<n>a)(?P<n>b)", "ab", true),
        ("a(?i)b|c", "C", true),
        ("(a(?i)b)c", "aBC", false),
        ("(?-i)a", "A", false),
        ("(?)a", "a", true),
        ("a||b", "", true),
        ("()", "", true),
        ("x*y", "y", true),
        ("^*a", "a", true),
        (r"[^\x00-\x{10FFFF}]", "a", false),
        ("é+", "éé", true),
        ("(?U)a+", "aa", true),
        ("#  x", "#  x", true),
    ] {
        assert_eq!(matches(pattern, text), found, "{pattern} {text:?}");
    }
}

#[test]
fn refuses_in_gos_words() {
    for (pattern, message) in [
        ("(", "missing closing ): `(`"),
        ("a)", "unexpected ): `a)`"),
        ("[a", "missing closing ]: `[a`"),
        ("x[", "missing closing ]: `[`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Nope}", "invalid character class range: `\\p{Nope}`"),
        (r"\p{Alphabetic}", "invalid character class range: `\\p{Alphabetic}`"),
        (r"\p{L", "invalid character class range: `\\p{L`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|*", "missing argument to repetition operator: `*`"),
        ("(*a)", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a+*?", "invalid nested repetition operator: `+*?`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("((a{10}|b){10}){11}", "invalid repeat count: `{11}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        (r"\", "trailing backslash at end of expression: ``"),
        (r"\8", "invalid escape sequence: `\\8`"),
        (r"\1", "invalid escape sequence: `\\1`"),
        (r"\y", "invalid escape sequence: `\\y`"),
        (r"\C", "invalid escape sequence: `\\C`"),
        (r"\Z", "invalid escape sequence: `\\Z`"),
        (r"\x{110000}", "invalid escape sequence: `\\x{110000`"),
        (r"\xg0", "invalid escape sequence: `\\xg0`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?<=a)", "invalid named capture: `(?<=a)`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("(?P<n-x>a)", "invalid named capture: `(?P<n-x>`"),
        ("(?", "invalid or unsupported Perl syntax: `(?`"),
    ] {
        assert_eq!(compile(pattern).err().map(|e| e.to_string()), Some(format!("error parsing regexp: {message}")), "{pattern}");
    }
    assert!(compile("(a{100}){10}").is_ok());
}
