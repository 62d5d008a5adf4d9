//! `find` and `findAll`: what a regular expression matches in a text. In every version of Kubernetes.

use regex::Regex;

use super::args::{cut, cut_all, int};
use super::{Call, Function, Overload};
use crate::cel::cost::{PATTERN, SEARCH, TRAVERSAL};
use crate::cel::error::EvalError;
use crate::cel::estimate::{Estimate, Estimation, Range};
use crate::cel::types::Type;
use crate::cel::value::Value;

pub(crate) fn functions() -> Vec<Function> {
    let texts = || Type::list(Type::String);
    vec![
        Function::new("find", [Overload::member("string_find_string", [Type::String, Type::String], Type::String, Call::Pattern(find))])
            .costs(SEARCH)
            .estimates(estimate),
        Function::new(
            "findAll",
            [
                Overload::member("string_find_all_string", [Type::String, Type::String], texts(), Call::Pattern(find_all)),
                Overload::member("string_find_all_string_int", [Type::String, Type::String, Type::Int], texts(), Call::Pattern(find_all)),
            ],
        )
        .costs(SEARCH)
        .estimates(estimate),
    ]
}

fn estimate(call: &Estimation) -> Option<Estimate> {
    let walk = call.target_size().plus(Range::exactly(1)).scaled(TRAVERSAL);
    Some(Estimate { cost: walk.times(call.size(0).scaled(PATTERN)), size: Some(Range { min: 0, max: call.target_size().max }) })
}

/// The first match, or an empty text.
fn find<'a>(pattern: &Regex, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    cut(args, "find", |text| Ok::<_, String>(pattern.find(text).map_or("", |found| found.as_str())))
}

/// Matches in order; so many of them when the number is not negative.
fn find_all<'a>(pattern: &Regex, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let limit = if args.len() > 2 { usize::try_from(int(args, 2, "findAll")?).unwrap_or(usize::MAX) } else { usize::MAX };
    cut_all(args, "findAll", |text| pattern.find_iter(text).take(limit).map(|found| found.as_str()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::pattern::compile;

    fn all(pattern: &str, text: &str, limit: i64) -> Vec<String> {
        let found = find_all(&compile(pattern).unwrap(), &[Value::string(text), Value::string(pattern), Value::Int(limit)]).unwrap();
        found.as_list().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn finds() {
        for (pattern, text, found) in [("[0-9]+", "abc 123", "123"), ("[0-9]+", "abc", ""), ("a|ab", "ab", "a")] {
            let value = find(&compile(pattern).unwrap(), &[Value::string(text)]).unwrap();
            assert_eq!(value.as_str(), Some(found));
        }
        assert_eq!(all("[0-9]+", "123 abc 456", -1), ["123", "456"]);
        assert_eq!(all("[0-9]+", "123 abc 456", 1), ["123"]);
        assert!(all("[0-9]+", "123 abc 456", 0).is_empty());
        assert_eq!(all("a*", "baab", -1), ["", "aa", ""]);
        assert_eq!(all("", "é", -1), ["", ""]);
    }
}
