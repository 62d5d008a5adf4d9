//! What is wrong with a specification, and the reader that collects it: every field is looked at, whatever was wrong before.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::Value;

/// Most problems that are told at once; more are counted.
pub const MAX_PROBLEMS: usize = 64;
/// Longest value that is shown, in characters.
const MAX_SHOWN: usize = 80;
/// Longest name that is compared with those that are known.
const MAX_NAME: usize = 63;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where, for example `spec.limits.containers[0].cpu.min`.
    pub path: String,
    /// What stands there, as JSON; empty where nothing does.
    pub value: String,
    /// The rule that it breaks.
    pub rule: String,
    /// What to do.
    pub hint: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.value.is_empty() { "missing" } else { &self.value };
        write!(f, "{} ({value}): {}; {}", self.path, self.rule, self.hint)
    }
}

/// A place in a specification and what stands there.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    path: String,
    value: &'a Value,
}

static ABSENT: Value = Value::Null;

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn root(path: &str, value: &'a Value) -> Self {
        Self { path: path.to_owned(), value }
    }

    /// The field called `name` in this one; null and absent are the same.
    pub(super) fn at(&self, name: &str) -> Self {
        Self { path: format!("{}.{name}", self.path), value: self.value.get(name).unwrap_or(&ABSENT) }
    }

    pub(super) fn is_there(&self) -> bool {
        !self.value.is_null()
    }
}

/// Collects problems.
#[derive(Debug, Default)]
pub(super) struct Problems {
    told: Vec<Problem>,
    noted: Vec<Problem>,
    more: usize,
}

// === impl Problems ===

impl Problems {
    /// Everything that was wrong, and what was noted.
    pub(super) fn into_lists(mut self) -> (Vec<Problem>, Vec<Problem>) {
        if self.more > 0 {
            let rule = format!("{} more problems", self.more);
            self.told.push(Problem { path: "spec".into(), value: String::new(), rule, hint: "mend these first".into() });
        }
        (self.told, self.noted)
    }

    /// Something that is right and may surprise.
    pub(super) fn note(&mut self, field: &Field<'_>, rule: &str, hint: &str) {
        self.noted.push(Problem { path: field.path.clone(), value: shown(field.value), rule: rule.into(), hint: hint.into() });
    }

    pub(super) fn tell(&mut self, field: &Field<'_>, rule: impl Into<String>, hint: impl Into<String>) {
        if self.told.len() >= MAX_PROBLEMS {
            self.more += 1;
            return;
        }
        self.told.push(Problem { path: field.path.clone(), value: shown(field.value), rule: rule.into(), hint: hint.into() });
    }

    /// Looks at the names of an object's fields. One that nobody reads would be dropped without a word.
    pub(super) fn object(&mut self, field: &Field<'_>, names: &[&str]) {
        match field.value {
            Value::Null => {}
            Value::Object(fields) => {
                for name in fields.keys().filter(|name| !names.contains(&name.as_str())) {
                    let hint =
                        nearest(name, names).map_or_else(|| format!("the fields here are {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
                    let short: String = name.chars().take(MAX_SHOWN).collect();
                    self.tell(&field.at(&short), "is no field", hint);
                }
            }
            _ => self.tell(field, "must be an object", format!("fields: {}", names.join(", "))),
        }
    }

    /// The items of a list.
    pub(super) fn items<'a>(&mut self, field: &Field<'a>, most: usize) -> Vec<Field<'a>> {
        match field.value {
            Value::Null => Vec::new(),
            Value::Array(items) => {
                if items.len() > most {
                    self.tell(field, format!("has {} items, and at most {most} are read", items.len()), "leave some out");
                }
                let at = |(index, value)| Field { path: format!("{}[{index}]", field.path), value };
                items.iter().take(most).enumerate().map(at).collect()
            }
            _ => {
                self.tell(field, "must be a list", "write `[…]`, or one item a line behind `- `");
                Vec::new()
            }
        }
    }

    pub(super) fn text<'a>(&mut self, field: &Field<'a>, most: usize) -> Option<&'a str> {
        match field.value {
            Value::Null => None,
            Value::String(text) if text.chars().count() <= most => Some(text),
            Value::String(_) => {
                self.tell(field, format!("must be at most {most} characters"), "shorten it");
                None
            }
            _ => {
                self.tell(field, "must be text", "put it in quotes");
                None
            }
        }
    }

    /// Text that must be there.
    pub(super) fn needed<'a>(&mut self, field: &Field<'a>, most: usize, hint: &str) -> Option<&'a str> {
        let text = self.text(field, most);
        if !field.is_there() || text.is_some_and(|text| text.trim().is_empty()) {
            self.tell(field, "must be given", hint);
            return None;
        }
        text
    }

    pub(super) fn integer(&mut self, field: &Field<'_>, range: RangeInclusive<u32>) -> Option<u32> {
        if !field.is_there() {
            return None;
        }
        let number = field.value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            let hint = if field.value.is_string() { "a number without quotes" } else { "a number in that range" };
            self.tell(field, format!("must be a whole number from {} to {}", range.start(), range.end()), hint);
        }
        number
    }

    pub(super) fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        if field.is_there() && !field.value.is_boolean() {
            self.tell(field, "must be true or false", "without quotes");
        }
        field.value.as_bool()
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(field, MAX_NAME)?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let hint = nearest(text, &words).map_or_else(|| "choose one of them".to_owned(), |near| format!("did you mean `{near}`?"));
            self.tell(field, format!("must be one of {}", words.join(", ")), hint);
        }
        chosen
    }

    /// A figure that is written as text.
    pub(super) fn figure<T>(&mut self, field: &Field<'_>, parse: fn(&str) -> Option<T>, what: &str, example: &str) -> Option<T> {
        let text = self.text(field, MAX_NAME)?;
        let value = parse(text);
        if value.is_none() {
            self.tell(field, format!("must be {what}"), format!("for example `{example}`"));
        }
        value
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    // Large values are not written out to be cut off.
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) => format!("an object of {}", fields.len()),
        Value::String(text) => {
            let short: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            let more = if text.chars().nth(MAX_SHOWN).is_some() { "…" } else { "" };
            format!("\"{short}{more}\"")
        }
        other => other.to_string(),
    }
}

/// The one of `names` that somebody most likely meant.
pub(super) fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    if name.chars().count() > MAX_NAME {
        return None;
    }
    let plain = |text: &str| -> Vec<char> { text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    let wanted = plain(name);
    let (distance, best) = names.iter().map(|known| (distance(&wanted, &plain(known)), *known)).min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance < wanted.len()).then_some(best)
}

/// How many letters must be put in, taken out or changed.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.iter().enumerate() {
        let mut corner = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (b, above) in other.iter().zip(row.iter().skip(1)) {
            left = (corner + usize::from(a != b)).min(left + 1).min(above + 1);
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_near() {
        let names = ["scaleUpThreshold", "window", "weights"];
        assert_eq!(nearest("scale_up_treshold", &names), Some("scaleUpThreshold"));
        assert_eq!(nearest("windows", &names), Some("window"));
        assert_eq!(nearest("x", &names), None);
        assert_eq!(distance(&['a', 'b', 'c'], &['b', 'c', 'd']), 2);
        assert_eq!(distance(&[], &['b']), 1);
    }

    #[test]
    fn there_is_an_end_to_what_is_told() {
        let mut problems = Problems::default();
        let value = Value::String("x".repeat(1000));
        for _ in 0..MAX_PROBLEMS + 3 {
            problems.tell(&Field::root("spec", &value), "no", "yes");
        }
        let (list, _) = problems.into_lists();
        assert_eq!(list.len(), MAX_PROBLEMS + 1);
        assert!(list.iter().all(|problem| problem.value.chars().count() <= MAX_SHOWN + 3));
        assert!(list.last().unwrap().rule.starts_with("3 more"));
    }
}
