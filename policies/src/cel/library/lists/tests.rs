//! What the functions make of ordinary and odd lists.

use super::*;

fn ints(values: &[i64]) -> Value<'static> {
    Value::list(values.iter().map(|v| Value::Int(*v)).collect())
}

fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    a.equal(b).unwrap()
}

#[test]
fn slices() {
    let list = ints(&[1, 2, 3, 4]);
    let slice = |from, to| slice(&[list.clone(), Value::Int(from), Value::Int(to)]);
    assert!(same(&slice(1, 3).unwrap(), &ints(&[2, 3])));
    assert!(same(&slice(4, 4).unwrap(), &ints(&[])));
    for (from, to, message) in [
        (-1, 2, "cannot slice(-1, 2), negative indexes not supported"),
        (3, 2, "cannot slice(3, 2), start index must be less than or equal to end index"),
        (0, 5, "cannot slice(0, 5), list is length 4"),
    ] {
        assert_eq!(slice(from, to).unwrap_err().to_string(), message);
    }
}

#[test]
fn sorts_by_keys_stably_and_survives_what_has_no_order() {
    let many: Vec<i64> = (0..100).map(|i| (i * 37) % 10).collect();
    let mut wanted = many.clone();
    wanted.sort_unstable();
    assert!(same(&sort(&[ints(&many)]).unwrap(), &ints(&wanted)));
    let nans = Value::list((0..50).map(|i| Value::Double(if i % 3 == 0 { f64::NAN } else { f64::from(50 - i) })).collect());
    assert_eq!(sort(&[nans]).unwrap().size(), Some(50));
    let by = sort_by(&[ints(&[1, 2, 3]), Value::list(["c", "a", "b"].map(Value::string).to_vec())]).unwrap();
    assert!(same(&by, &ints(&[2, 3, 1])));
    assert_eq!(sort(&[Value::list(vec![Value::Int(1), Value::string("a")])]).unwrap_err().to_string(), "list elements must have the same type");
    assert_eq!(sort(&[Value::list(vec![Value::Null])]).unwrap_err().to_string(), "list elements must be comparable");
    assert_eq!(
        sort_by(&[ints(&[1]), ints(&[])]).unwrap_err().to_string(),
        "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got 1 and 0 elements respectively"
    );
}

#[test]
fn flattens_and_deduplicates() {
    let nested = Value::list(vec![ints(&[1]), Value::list(vec![ints(&[2, 3]), ints(&[4])]), Value::Int(5)]);
    let size = |depth| flatten(&[nested.clone(), Value::Int(depth)]).unwrap().size();
    assert_eq!([size(0), size(1), size(2), size(9)], [Some(3), Some(4), Some(5), Some(5)]);
    assert_eq!(flatten(&[nested.clone(), Value::Int(-1)]).unwrap_err().to_string(), "level must be non-negative");
    let mixed = Value::list(vec![Value::Int(1), Value::Uint(1), Value::Double(1.0), Value::string("1"), Value::Null, Value::Null]);
    assert_eq!(distinct(&[mixed]).unwrap().size(), Some(3));
    assert!(same(&reverse(&[ints(&[1, 2, 3])]).unwrap(), &ints(&[3, 2, 1])));
    assert!(same(&range(&[Value::Int(3)]).unwrap(), &ints(&[0, 1, 2])));
    assert_eq!(range(&[Value::Int(-3)]).unwrap().size(), Some(0));
    assert_eq!(range_bounded(&[Value::Int(-3)]).unwrap_err().to_string(), "lists.range: size must be non-negative, got -3");
    assert_eq!(range(&[Value::Int(i64::MAX)]).unwrap_err(), EvalError::Memory);
}
