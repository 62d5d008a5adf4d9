//! Bodies that are reviews, and every way in which one is not.

use serde_json::json;

use super::*;

fn body(object: &str) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u1","kind":{{"group":"","version":"v1","kind":"ConfigMap"}},"resource":{{"group":"","version":"v1","resource":"configmaps"}},"operation":"CREATE","userInfo":{{"username":"ann"}},"object":{object}}}}}"#
    )
}

fn error(text: &str) -> BodyError {
    read(text.as_bytes()).unwrap_err()
}

#[test]
fn reads_what_the_api_server_sends_as_serde_json_would() {
    let object = json!({"metadata": {"name": "a\u{1f600}\n"}, "data": {"n": [1, -2, 2.5, true, null, {}, [], u64::MAX]}});
    let review = read(body(&object.to_string()).as_bytes()).unwrap();
    let request = review.request.unwrap();
    assert_eq!((request.object, request.uid.as_str(), request.user_info.username.as_str()), (object, "u1", "ann"));
    let sent = Sender { uid: "u1".into(), username: "ann".into() };
    assert_eq!(sender(body("{}").as_bytes()), Some(sent));
}

#[test]
fn a_key_that_occurs_twice_is_refused_wherever_it_is() {
    let twice = error(&body(r#"{"spec":{"a":[{"b":1,"c":2,"b":3}]}}"#));
    assert_eq!(twice, BodyError::Duplicate { path: "request.object.spec.a.0".into(), key: "b".into() });
    assert_eq!(twice.to_string(), "`request.object.spec.a.0` has the key `b` twice, so two readers could see two values: name it once");
    // The same key once written with an escape is the same key.
    assert!(matches!(error(&body(r#"{"b":1,"\u0062":2}"#)), BodyError::Duplicate { .. }));
    let envelope = body("{}").replace(r#""uid":"u1""#, r#""uid":"u1","uid":"u2""#);
    assert_eq!(error(&envelope), BodyError::Duplicate { path: "request".into(), key: "uid".into() });
    assert_eq!(sender(envelope.as_bytes()), None, "nobody's uid is guessed");
}

#[test]
fn nesting_is_bounded_long_before_the_stack_is() {
    // Review, request and object are three levels.
    let deep = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    read(body(&deep(MAX_DEPTH - 3)).as_bytes()).unwrap();
    for levels in [MAX_DEPTH - 2, 10_000, 1_000_000] {
        let refused = error(&body(&deep(levels)));
        assert!(matches!(&refused, BodyError::Deep { path } if path.starts_with("request.object.a.0.0.0") && path.ends_with(".…")), "{refused}");
        assert!(refused.to_string().len() < 200, "{refused}");
    }
    // Unclosed, and nothing but brackets.
    assert!(matches!(error(&"[".repeat(1_000_000)), BodyError::Deep { .. }));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    assert!(matches!(error(&objects), BodyError::Deep { .. }));
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let mut bytes = body(r#"{"data":"x"}"#).into_bytes();
    let at = bytes.len() - 5;
    bytes[at] = 0xff;
    assert_eq!(read(&bytes).unwrap_err(), BodyError::Encoding { at });
    // Half of a surrogate pair is no character: Go would read U+FFFD.
    assert!(matches!(error(&body(r#"{"a":"\ud800"}"#)), BodyError::Syntax { path, .. } if path == "request.object.a"));
}

#[test]
fn a_body_cut_anywhere_is_refused() {
    let whole = body(r#"{"metadata":{"name":"a","labels":{"b":"c"}},"n":[1,2.5,true,null]}"#);
    for end in 0..whole.len() {
        let cut = error(&whole[..end]);
        assert!(matches!(cut, BodyError::Truncated { bytes, .. } if bytes == end), "{end}: {cut}");
    }
    let cut = error(&whole[..whole.len() - 12]);
    assert_eq!(cut.to_string(), format!("the body ends early, after {} bytes, in `request.object.n.2`: send it whole", whole.len() - 12));
    assert!(matches!(error(&format!("{whole}{{}}")), BodyError::Syntax { .. }), "a second document is refused");
}

#[test]
fn only_version_one_of_an_admission_review_is_read() {
    for (api_version, kind) in [("admission.k8s.io/v1beta1", KIND), ("v1", "Pod"), (API_VERSION, "ConversionReview"), ("", "")] {
        let refused = error(&json!({"apiVersion": api_version, "kind": kind, "request": {}}).to_string());
        assert_eq!(refused, BodyError::Version { api_version: api_version.into(), kind: kind.into() });
    }
    assert!(matches!(error("[]"), BodyError::Version { .. }));
    assert!(matches!(error("7"), BodyError::Version { .. }));
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    let check = |from: &str, to: &str, field: &str, said: &str| {
        let text = body("{}").replace(from, to);
        match error(&text) {
            BodyError::Field { path, reason } => {
                assert_eq!(path, field);
                assert!(reason.contains(said), "{reason}");
            }
            other => panic!("{other}"),
        }
    };
    check(r#""uid":"u1","#, "", "request", "missing field `uid`");
    check(r#""uid":"u1""#, r#""uid":"""#, "request.uid", "empty");
    check(r#""uid":"u1""#, r#""uid":1"#, "request.uid", "expected a string");
    check(r#""username":"ann""#, r#""username":["ann"]"#, "request.userInfo.username", "expected a string");
    check(r#""version":"v1","resource""#, r#""resource""#, "request.resource", "missing field `version`");
    check("CREATE", "create", "request.operation", "`create` is none of CREATE");
    check(r#""object":{}"#, r#""object":[1]"#, "request.object", "neither an object nor null");
    check(r#""object":{}"#, r#""oldObject":"x""#, "request.oldObject", "neither an object nor null");
    let none = json!({"apiVersion": API_VERSION, "kind": KIND}).to_string();
    assert!(matches!(error(&none), BodyError::Field { path, .. } if path == "request"));
    let list = json!({"apiVersion": API_VERSION, "kind": KIND, "request": []}).to_string();
    assert!(matches!(error(&list), BodyError::Field { path, .. } if path == "request"));
}

#[test]
fn objects_of_three_mebibytes_are_read_and_bombs_are_not() {
    let three = 3 << 20;
    let entry = r#"{"name":"LOG_LEVEL","value":"debug"},"#;
    let object = format!(r#"{{"spec":{{"env":[{}{{}}]}}}}"#, entry.repeat(three / entry.len()));
    let twice = body(&object).replace(r#""object":"#, &format!(r#""oldObject":{object},"object":"#));
    assert!(twice.len() > 2 * three - 1024 && twice.len() <= MAX_BYTES);
    read(twice.as_bytes()).unwrap();

    for value in ["0", "{}", r#"{"":0}"#, "[[]]", r#""""#] {
        let bomb = body(&format!("{{\"a\":[{}0]}}", format!("{value},").repeat(7 * (1 << 20) / (value.len() + 1))));
        let refused = error(&bomb);
        assert!(matches!(&refused, BodyError::Memory { path } if path.starts_with("request.object.a")), "{value}: {refused}");
    }
    let large = vec![b' '; MAX_BYTES + 1];
    assert_eq!(read(&large).unwrap_err(), BodyError::TooLarge { bytes: MAX_BYTES + 1 });
}

#[test]
fn an_error_is_short_whatever_the_body_holds() {
    let long = "k".repeat(1 << 20);
    let texts = [
        body(&format!(r#"{{"{long}":1,"{long}":2}}"#)),
        body(&format!(r#"{{"{long}":{{"{long}":["#)),
        json!({"apiVersion": long, "kind": long}).to_string(),
        body("{}").replace("CREATE", &long),
        body("{}").replace(r#""uid":"u1""#, &format!(r#""uid":{{"{long}":1}}"#)),
    ];
    for text in texts {
        assert!(error(&text).to_string().len() < 1024);
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
        let _ = (read(&bytes), sender(&bytes));
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads(text in r#"[\[\]{}:,"a0-9.e\\u-]{0,24}"#) {
        // Stricter is right; different never is.
        if let Ok(read) = value(text.as_bytes()) {
            proptest::prop_assert_eq!(read, serde_json::from_str::<Value>(&text).unwrap());
        }
    }
}
