//! `jsonpatch.escapeKey`: a key of an object as one segment of a JSON pointer. Only expressions that make patches have it.

use super::args::{made, text};
use super::estimates::TRAVERSE_ARGUMENT_KEEPING;
use super::{Call, Function, Overload};
use crate::cel::cost::TRAVERSE;
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::Value;

pub(crate) fn functions() -> Vec<Function> {
    let escape = Overload::global("string_jsonpatch_escapeKey_string", [Type::String], Type::String, Call::Values(escape));
    vec![Function::new("jsonpatch.escapeKey", [escape]).costs(TRAVERSE).estimates(TRAVERSE_ARGUMENT_KEEPING)]
}

fn escape<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    made(escape_key(text(args, 0, "jsonpatch.escapeKey")?))
}

fn escape_key(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_slash_and_tilde_once() {
        assert_eq!(super::escape_key("k8s.io/my~label"), "k8s.io~1my~0label");
        assert_eq!(super::escape_key("~1/é"), "~01~1é");
    }
}
