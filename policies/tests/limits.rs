//! Whatever the source, compiling ends with a program or an issue, and evaluating with a value or an error: no panic, no overflow of
//! the stack of an ordinary thread, no more work than was paid for.

use assent_policies::cel::{Environment, EvalError, Meter, Program, Type, Value, Version};
use proptest::prelude::*;

const PER_CALL: u64 = 1_000_000;
/// What Rust gives a thread, and tokio a worker.
const STACK: usize = 2 << 20;

fn environment() -> Environment {
    Environment::kubernetes(Version::V1_34).with_variables(["l", "m", "s"].map(|name| (name, Type::Dyn)))
}

fn evaluate(program: &Program, length: i64) -> (Result<Value<'static>, EvalError>, u64) {
    let bindings = vec![("l", Value::list((0..length).map(Value::Int).collect())), ("m", Value::Null), ("s", Value::string("text"))];
    let mut meter = Meter::new(PER_CALL);
    let value = program.evaluate(&bindings, &mut meter);
    (value, meter.spent())
}

/// Compiles and, if it compiles, evaluates, on an ordinary thread's stack.
fn survives(source: &str) -> bool {
    let mut compiled = false;
    let run = || compiled = environment().compile(source).map(|program| evaluate(&program, 3)).is_ok();
    // The scope ends with the thread, and fails if it does.
    std::thread::scope(|scope| assert!(std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).is_ok(), "no thread"));
    compiled
}

#[test]
fn a_bomb_ends_when_its_budget_does() {
    for source in
        ["l.all(a, l.all(b, l.all(c, a + b + c >= 0)))", "l.map(a, l.map(b, l.map(c, a + b + c)))", "l.map(a, l.map(b, l.transformMap(c, d, [a, b, c])))"]
    {
        let (value, spent) = evaluate(&environment().compile(source).unwrap(), 200);
        assert_eq!(value.err(), Some(EvalError::Budget), "{source}");
        assert!((PER_CALL..PER_CALL + 1000).contains(&spent), "{source}: {spent}");
    }
}

#[test]
fn what_is_joined_without_cost_is_bounded() {
    let doubled = (0..40).fold("l".to_owned(), |list, _| format!("[{list}].map(x, x + x)[0]"));
    let (value, _) = evaluate(&environment().compile(&doubled).unwrap(), 200);
    assert_eq!(value.unwrap_err(), EvalError::Memory);
    let (value, _) = evaluate(&environment().compile("l.map(a, 'x'.replace('', s + s)).size() > 0").unwrap(), 200);
    assert!(matches!(value, Ok(Value::Bool(true))));
}

#[test]
fn an_interrupt_is_seen() {
    let program = environment().compile("l.all(a, a >= 0)").unwrap();
    let bindings = vec![("l", Value::list((0..1000).map(Value::Int).collect()))];
    let given_up = || true;
    let mut meter = Meter::new(PER_CALL).with_interrupt(&given_up);
    assert_eq!(program.evaluate(&bindings, &mut meter).unwrap_err(), EvalError::Interrupted);
    assert!(meter.spent() < 1000, "{}", meter.spent());
}

#[test]
fn nesting_is_refused_beyond_a_depth_and_harmless_below() {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1: ", "1", "}"),
        ("s.size(", "", ")"),
        ("l.all(x, ", "true", ")"),
        ("l.map(x, ", "x", ")"),
        ("true ? 1 : ", "2", ""),
        ("!(", "true", ")"),
        ("-", "1", ""),
        ("!", "true", ""),
        ("m", "", ".a"),
        ("m", "", "[0]"),
        ("m", "", ".f()"),
        ("m", "", ".?a"),
        ("1 + ", "1", ""),
        ("true && ", "true", ""),
        ("l.optMap(x, ", "x", ")"),
    ] {
        for depth in [1, 40, 100, 200, 240, 260, 5_000] {
            survives(&nested(open, inner, close, depth));
        }
    }
    assert!(survives(&nested("(", "1", ")", 200)));
    assert!(!survives(&nested("(", "1", ")", 300)));
    assert!(survives(&nested("true && ", "true", "", 5_000)));
}

#[test]
fn a_source_is_refused_for_its_length_before_it_is_read() {
    let issues = environment().compile(&"(".repeat(100_001)).unwrap_err();
    assert_eq!(issues.first().map(|issue| issue.message.as_str()), Some("expression code point size exceeds limit: size: 100001, limit 100000"));
}

#[test]
fn what_is_no_literal_is_an_issue() {
    for source in [
        r"'\q'",
        r"'\u12'",
        r"'\ud800'",
        r"'\U00110000'",
        r"b'\u00ff'",
        r"b'\400'",
        "'a",
        "'''a''",
        "\"a\nb\"",
        "9223372036854775808",
        "0x",
        "1e999",
        "18446744073709551616u",
        "`a",
        "a.``",
        "a.`b`",
        "@result",
        "\u{0}",
        "é",
        "'\\",
        "b'é\\",
    ] {
        assert!(environment().compile(source).is_err(), "{source}");
    }
}

#[test]
fn issues_have_a_place_and_a_suggestion() {
    let issues = environment().compile("s ==\n  '' && s.startWith('a')").unwrap_err();
    let issue = issues.first().unwrap();
    assert_eq!((issue.line, issue.column, issue.suggestion.as_deref()), (2, 20, Some("startsWith")));
}

/// Pieces of source that mean something next to each other.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "l",
        "m",
        "s",
        "1",
        "2u",
        "0.5",
        "'a'",
        "b'\\x00'",
        "null",
        "true",
        "x",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        ":",
        "?",
        ".?",
        "[?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "<",
        "in",
        "&&",
        "||",
        ".all(x, ",
        ".map(x, ",
        ".filter(x, ",
        ".exists(x, y, ",
        ".transformMap(x, y, ",
        ".size()",
        ".orValue(",
        ".optMap(x, ",
        "has(m.a)",
        "timestamp('2024-02-29T00:00:00Z')",
        "duration('1h')",
        "int(",
        "string(",
        "type(",
        "dyn(",
        ".a",
        " ",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_the_parser(source in ".{0,60}") {
        survives(&source);
    }

    #[test]
    fn no_pieces_break_the_checker_or_the_evaluator(pieces in prop::collection::vec(piece(), 0..25)) {
        survives(&pieces.concat());
    }
}
