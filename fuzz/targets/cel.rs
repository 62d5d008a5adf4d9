//! Sources of expressions: each ends with issues or a program, and a program with a value or an error, for what was paid.
#![no_main]

use std::sync::OnceLock;

use assent_policies::cel::{Environment, EvalError, Meter, Type, Value, Version};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value as Json, json};

const BUDGET: u64 = 100_000;

fn object() -> &'static Json {
    static OBJECT: OnceLock<Json> = OnceLock::new();
    OBJECT.get_or_init(|| json!({"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"replicas": 3, "cpu": "100m", "list": [1, 2.5, "x", null, true]}}))
}

fn environment(version: Version) -> Environment {
    let names = ["object", "l", "m", "s", "n", "d"].map(|name| (name, Type::Dyn));
    Environment::kubernetes(version).with_variables(names)
}

fuzz_target!(|data: &[u8]| {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let environments: [Environment; 3] = [environment(Version::V1_34), environment(Version::V1_30), Environment::conformance()];
    for environment in environments {
        let program = match environment.compile(source) {
            Ok(program) => program,
            Err(issues) => {
                assert!(!issues.is_empty(), "refused without a reason");
                issues.iter().for_each(|issue| drop(issue.to_string()));
                continue;
            }
        };
        let bindings = vec![
            ("object", Value::from(object())),
            ("l", Value::list((0..5).map(Value::Int).collect())),
            ("m", Value::Null),
            ("s", Value::string("text")),
            ("n", Value::Int(7)),
            ("d", Value::Double(1.5)),
        ];
        let mut meter = Meter::new(BUDGET);
        let value = program.evaluate(&bindings, &mut meter);
        // The price of the step that could not be paid counts as spent, whatever it is: it was not taken.
        assert_eq!(meter.spent() > BUDGET, matches!(value, Err(EvalError::Budget)), "{} spent of {BUDGET}: {value:?}", meter.spent());
    }
});
