//! When a restricted operation asks: comparisons of a few known figures, joined by `&&` and `||` (`&&` binds closer). It is
//! a part of CEL, so what is written here can be read there. A figure that is not known makes the condition hold: it asks.

use super::rules::Comparison;

/// What a condition may speak of.
pub const VARIABLES: [&str; 10] =
    ["target_replicas", "current_replicas", "min_replicas", "max_replicas", "target_cpu", "min_cpu", "max_cpu", "target_memory", "min_memory", "max_memory"];

/// Longest condition, in bytes.
pub(super) const MAX_CONDITION: usize = 512;
/// Most comparisons in one.
const MAX_COMPARISONS: usize = 16;
/// Longer operators first, so that `<=` is not read as `<`.
pub(super) const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<", Comparison::Less),
    (">", Comparison::More),
];

/// A condition, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    text: String,
    /// One of these must hold, with all its comparisons.
    any: Vec<Vec<Comparing>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparing {
    left: Operand,
    comparison: Comparison,
    right: Operand,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Number(u64),
    Variable(&'static str),
}

// === impl Condition ===

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_CONDITION || text.matches("&&").count() + text.matches("||").count() >= MAX_COMPARISONS {
            return Err(format!("is longer than {MAX_CONDITION} bytes or {MAX_COMPARISONS} comparisons"));
        }
        let any = text.split("||").map(|all| all.split("&&").map(comparing).collect()).collect::<Result<_, String>>()?;
        Ok(Self { text: text.trim().to_owned(), any })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds, with the figures that `value` knows.
    pub fn holds(&self, value: impl Fn(&str) -> Option<u64>) -> bool {
        let of = |operand: &Operand| match operand {
            Operand::Number(number) => Some(*number),
            Operand::Variable(name) => value(name),
        };
        let holds = |comparing: &Comparing| match (of(&comparing.left), of(&comparing.right)) {
            (Some(left), Some(right)) => comparing.comparison.holds(&left, &right),
            _ => true,
        };
        self.any.iter().any(|all| all.iter().all(holds))
    }
}

fn comparing(text: &str) -> Result<Comparing, String> {
    let found = COMPARISONS.iter().filter_map(|(sign, comparison)| text.find(sign).map(|at| (at, sign, *comparison)));
    // The first sign, and of two at one place the longer, which stands first in the table.
    let Some((at, sign, comparison)) = found.min_by_key(|(at, ..)| *at) else {
        return Err(format!("`{:.60}` compares nothing", text.trim()));
    };
    let (left, rest) = text.split_at(at);
    let right = rest.strip_prefix(sign).unwrap_or_default();
    Ok(Comparing { left: operand(left)?, comparison, right: operand(right)? })
}

fn operand(text: &str) -> Result<Operand, String> {
    let text = text.trim();
    if let Ok(number) = text.parse::<u64>()
        && text.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Ok(Operand::Number(number));
    }
    VARIABLES
        .iter()
        .find(|name| **name == text)
        .map(|name| Operand::Variable(name))
        .ok_or_else(|| format!("`{text:.60}` is no number and no figure that is known here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<u64> {
        match name {
            "target_replicas" => Some(6),
            "max_replicas" => Some(5),
            "current_replicas" => Some(5),
            _ => None,
        }
    }

    #[test]
    fn it_compares_what_it_names() {
        for (text, wanted) in [
            ("target_replicas > max_replicas", true),
            ("target_replicas>max_replicas", true),
            ("target_replicas <= max_replicas", false),
            ("target_replicas > 10 || current_replicas == 5", true),
            ("target_replicas > 10 && current_replicas == 5", false),
            ("target_replicas > 10 || current_replicas != 5 && 1 < 2", false),
            ("6 >= target_replicas", true),
        ] {
            assert_eq!(Condition::parse(text).unwrap().holds(known), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_asks() {
        assert!(Condition::parse("target_cpu > max_cpu").unwrap().holds(known));
        assert!(Condition::parse("target_cpu < max_cpu").unwrap().holds(known));
    }

    #[test]
    fn what_is_no_condition_is_said() {
        for (text, words) in [
            ("", "compares nothing"),
            ("target_replicas", "compares nothing"),
            ("replicas > 5", "`replicas` is no number"),
            ("target_replicas > ", "`` is no number"),
            ("target_replicas > 5 > 4", "`5 > 4` is no number"),
            ("target_replicas => 5", "no number"),
            ("target_replicas > +5", "`+5`"),
            ("target_replicas > 99999999999999999999", "no number"),
            ("(target_replicas > 5)", "no number"),
        ] {
            let error = Condition::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(Condition::parse(&"1 < 2 && ".repeat(100)).is_err());
    }
}
