//! Label selectors, as `k8s.io/apimachinery` reads them: compiled once, an invalid one is an error and not "nothing".

use serde_json::Value;

use super::spec::LabelSelector;

/// A compiled selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    requirements: Vec<Compiled>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Compiled {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// The labels of a JSON object; none when it has none.
pub(crate) fn labels_of(object: &Value) -> Option<&serde_json::Map<String, Value>> {
    object.get("metadata")?.get("labels")?.as_object()
}

/// `[prefix/]name`, as label keys and condition names are.
pub(crate) fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let alphanumeric = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let letters = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let subdomain = |text: &str| {
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        text.len() <= 253 && text.split('.').all(part)
    };
    prefix.is_none_or(subdomain) && name.len() <= 63 && alphanumeric(name) && letters(name)
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || (text.len() <= 63 && !text.contains('/') && is_qualified_name(text))
}

// === impl Selector ===

impl Selector {
    /// Compiles `selector`, or says what is wrong with it.
    pub(crate) fn compile(selector: &LabelSelector) -> Result<Self, String> {
        let mut requirements = Vec::with_capacity(selector.match_labels.len() + selector.match_expressions.len());
        for (key, value) in &selector.match_labels {
            requirements.push(compile(key, Operator::In, std::slice::from_ref(value))?);
        }
        for one in &selector.match_expressions {
            let operator = match one.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("\"{other:.80}\" is not a valid label selector operator")),
            };
            requirements.push(compile(&one.key, operator, &one.values)?);
        }
        Ok(Self { requirements })
    }

    /// Whether it selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether it selects these labels. A label whose value is no string has none.
    pub(crate) fn matches(&self, labels: Option<&serde_json::Map<String, Value>>) -> bool {
        let value = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.requirements.iter().all(|one| {
            let found = value(&one.key);
            match one.operator {
                Operator::In => found.is_some_and(|found| one.values.iter().any(|value| value == found)),
                Operator::NotIn => !found.is_some_and(|found| one.values.iter().any(|value| value == found)),
                Operator::Exists => found.is_some(),
                Operator::DoesNotExist => found.is_none(),
            }
        })
    }

    /// The key and values of a requirement that one of few values must be present, for an index: labels without any of them
    /// are certainly not selected.
    pub(crate) fn needs(&self) -> Option<(&str, &[String])> {
        let of_in = self.requirements.iter().filter(|one| one.operator == Operator::In);
        of_in.min_by_key(|one| one.values.len()).map(|one| (one.key.as_str(), one.values.as_slice()))
    }
}

fn compile(key: &str, operator: Operator, values: &[String]) -> Result<Compiled, String> {
    if !is_qualified_name(key) {
        return Err(format!("key: Invalid value: \"{key:.80}\": not a label key"));
    }
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => return Err("values: for 'in', 'notin' operators, values set can't be empty".into()),
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            return Err("values: values set must be empty for exists and does not exist".into());
        }
        _ => {}
    }
    if let Some((at, bad)) = values.iter().enumerate().find(|(_, value)| !is_label_value(value)) {
        return Err(format!("values[{at}][{key}]: Invalid value: \"{bad:.80}\": not a label value"));
    }
    Ok(Compiled { key: key.to_owned(), operator, values: values.to_vec() })
}
