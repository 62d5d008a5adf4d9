//! Who is asked what.

use super::*;

#[derive(Debug)]
struct Echo;

impl Authorizer for Echo {
    fn authorize(&self, check: &Check) -> Decision {
        Decision { allowed: check.subject != Subject::Requester, reason: format!("{check:?}"), error: (&*check.verb == "fail").then(|| "broken".to_owned()) }
    }
}

fn call(function: Implementation, on: &Value<'static>, texts: &[&str]) -> Result<Value<'static>, EvalError> {
    let mut args = vec![on.clone()];
    args.extend(texts.iter().map(Value::string));
    function(&args)
}

#[test]
fn asks_about_resources() {
    let start = call(service_account, &authorizer_value(Arc::new(Echo)), &["ns", "sa.x"]).unwrap();
    let mut check = call(resource, &call(group, &start, &["apps"]).unwrap(), &["deployments"]).unwrap();
    for (function, text) in
        [(subresource as Implementation, "scale"), (namespace, "default"), (name, "web"), (field_selector, "a=b"), (label_selector, "c in (d)")]
    {
        check = call(function, &check, &[text]).unwrap();
    }
    let decision = call(check_resource, &check, &["update"]).unwrap();
    let wanted = Check {
        subject: Subject::ServiceAccount { namespace: "ns".into(), name: "sa.x".into() },
        verb: "update".into(),
        target: Target::Resource(Resource {
            group: "apps".into(),
            resource: "deployments".into(),
            subresource: "scale".into(),
            namespace: "default".into(),
            name: "web".into(),
            field_selector: "a=b".into(),
            label_selector: "c in (d)".into(),
        }),
    };
    assert_eq!(call(reason, &decision, &[]).unwrap().as_str(), Some(format!("{wanted:?}").as_str()));
    assert!(matches!((call(allowed, &decision, &[]), call(errored, &decision, &[])), (Ok(Value::Bool(true)), Ok(Value::Bool(false)))));
    assert_eq!(call(error, &decision, &[]).unwrap().as_str(), Some(""));
}

#[test]
fn asks_about_paths_and_reports_failure() {
    let check = call(path, &authorizer_value(Arc::new(Echo)), &["/healthz"]).unwrap();
    let decision = call(check_path, &check, &["fail"]).unwrap();
    assert!(matches!((call(allowed, &decision, &[]), call(errored, &decision, &[])), (Ok(Value::Bool(false)), Ok(Value::Bool(true)))));
    assert_eq!(call(error, &decision, &[]).unwrap().as_str(), Some("broken"));
}

#[test]
fn refuses_what_names_nothing() {
    let start = authorizer_value(Arc::new(Echo));
    let groups = call(group, &start, &[""]).unwrap();
    for (result, message) in [
        (call(path, &start, &[" \t"]), "path must not be empty"),
        (call(resource, &groups, &[""]), "resource must not be empty"),
        (call(service_account, &start, &["a b", "x"]), "Invalid service account namespace"),
        (call(service_account, &start, &["a.b", "x"]), "Invalid service account namespace"),
        (call(service_account, &start, &["a b", "x y"]), "Invalid service account name"),
    ] {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
}
