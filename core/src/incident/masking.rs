//! What never enters an incident's record: secrets and personal data in texts that others wrote. Masked where the text comes in, because what is
//! in a ledger stays there.

/// What stands in place of what was masked.
pub const MASK: &str = "(masked)";
/// Parts of names that credentials have, in lower case and without separators.
const CREDENTIALS: [&str; 12] =
    ["password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "accesskey", "privatekey", "credential", "authorization", "cookie"];
/// Words after which a credential follows.
const SCHEMES: [&str; 3] = ["bearer", "basic", "apikey"];
/// Shortest run of letters and digits that may be a key.
const LONG: usize = 24;

/// `text` with every word masked that is, holds or follows a credential, an address of electronic mail, a card number or a key.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut follows = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let space = piece.get(word.len()..).unwrap_or_default();
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
        let scheme = SCHEMES.contains(&bare.as_str());
        if word.is_empty() {
            out.push_str(piece);
            continue;
        }
        if follows && !scheme {
            out.push_str(MASK);
            follows = false;
        } else {
            let (shown, open) = word_masked(word);
            out.push_str(&shown);
            follows = open || scheme;
        }
        out.push_str(space);
    }
    out
}

/// A word with its hidden part masked, and whether the value that its name announces is still to come.
fn word_masked(word: &str) -> (String, bool) {
    let at = word.find(['=', ':']).filter(|at| !word.get(*at..).is_some_and(|rest| rest.starts_with("://")));
    if let Some((name, value)) = at.and_then(|at| word.split_at_checked(at.saturating_add(1)))
        && names_credential(name)
    {
        let value = value.trim_start_matches(['=', ':', '"', '\'']);
        return if value.is_empty() { (word.to_owned(), true) } else { (format!("{name}{MASK}"), SCHEMES.contains(&value.to_ascii_lowercase().as_str())) };
    }
    if let Some((before, rest)) = word.split_once("://")
        && let Some((user, host)) = rest.split_once('@')
        && !user.contains('/')
    {
        return (format!("{before}://{MASK}@{host}"), false);
    }
    let hidden = is_mail(word) || word.split(|c: char| !(c.is_alphanumeric() || "+/=_".contains(c))).any(is_key) || is_token(word) || is_card(word);
    if hidden { (MASK.to_owned(), false) } else { (word.to_owned(), false) }
}

fn names_credential(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    CREDENTIALS.iter().any(|credential| plain.ends_with(credential))
}

fn is_mail(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    bare.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('/') && !host.contains(':'))
}

/// A long run without separators that is random to look at. Names of pods and UUIDs have separators.
fn is_key(run: &str) -> bool {
    let count = |test: fn(&char) -> bool| run.chars().filter(test).count();
    let (digits, upper, lower) = (count(char::is_ascii_digit), count(char::is_ascii_uppercase), count(char::is_ascii_lowercase));
    let hexadecimal = run.len() >= 32 && run.chars().all(|c| c.is_ascii_hexdigit()) && digits > 0;
    hexadecimal || run.len() >= LONG && digits > 0 && upper > 0 && lower > 0
}

/// A signed token of three parts.
fn is_token(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    bare.starts_with("eyJ") && bare.split('.').count() >= 2
}

/// A run of 13 to 19 digits with a card's check digit.
fn is_card(word: &str) -> bool {
    let digits: Vec<u32> = word.chars().filter(|c| *c != '-').map_while(|c| c.to_digit(10)).collect();
    let doubled = |(place, digit): (usize, &u32)| match (place % 2, digit) {
        (1, digit) if *digit > 4 => digit * 2 - 9,
        (1, digit) => digit * 2,
        (_, digit) => *digit,
    };
    (13..=19).contains(&digits.len()) && digits.iter().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_secret_or_personal_is_masked_and_the_rest_is_read_as_before() {
        for (text, expected) in [
            ("login of jane.doe@example.org failed", "login of (masked) failed"),
            ("password=hunter2 rejected", "password=(masked) rejected"),
            ("DB_PASSWORD: hunter2 rejected", "DB_PASSWORD: (masked) rejected"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer (masked)"),
            ("bearer abc was refused", "bearer (masked) was refused"),
            ("cannot reach postgres://app:hunter2@db:5432/shop", "cannot reach postgres://(masked)@db:5432/shop"),
            ("token eyJhbGciOi.eyJzdWIi.c2ln expired", "token (masked) expired"),
            ("key AKIAIOSFODNN7EXAMPLEabcd12", "key (masked)"),
            ("digest 0123456789abcdef0123456789abcdef", "digest (masked)"),
            ("card 4111111111111111 declined", "card (masked) declined"),
            // What diagnosis lives by stays.
            ("pod orders-6d4cf56db6-x2k9p restarted 5 times", "pod orders-6d4cf56db6-x2k9p restarted 5 times"),
            ("incident 01890a5d-ac96-774b-bcce-b302099a8057", "incident 01890a5d-ac96-774b-bcce-b302099a8057"),
            ("https://grafana.example.org/d/abc?x=1", "https://grafana.example.org/d/abc?x=1"),
            ("5 % of orders fail  since 1790088200123", "5 % of orders fail  since 1790088200123"),
            ("checkoutservice error ratio > 5%", "checkoutservice error ratio > 5%"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_masked_once_and_for_all(text in "\\PC{0,80}", secret in "[a-z0-9]{6,20}") {
            let once = masked(&text);
            prop_assert_eq!(&masked(&once), &once);
            let shown = masked(&format!("{text} password={secret}x7 after"));
            let tail = format!("{secret}x7");
            prop_assert!(!shown.contains(&tail) || text.contains(&tail), "{}", shown);
        }
    }
}
