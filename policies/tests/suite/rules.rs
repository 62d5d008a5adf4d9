//! An authorizer whose answers come with a case: the first rule that fits answers, else nobody has an opinion. A field that
//! a rule has must be equal, one that it lacks fits anything; so does the oracle's.

use serde_json::Value as Json;

use super::authorizer::{Authorizer, Check, Decision, Resource, Subject, Target};

/// Rules, and who asks.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Json>,
    pub(crate) requester: String,
}

impl Authorizer for Rules {
    fn authorize(&self, check: &Check) -> Decision {
        let user = match &check.subject {
            Subject::Requester => self.requester.clone(),
            Subject::ServiceAccount { namespace, name } => format!("system:serviceaccount:{namespace}:{name}"),
        };
        let nothing = Resource::default();
        let (path, of) = match &check.target {
            Target::Path(path) => (&**path, &nothing),
            Target::Resource(resource) => ("", resource),
        };
        let fields: [(&str, &str); 8] = [
            ("user", &user),
            ("verb", &check.verb),
            ("path", path),
            ("group", &of.group),
            ("resource", &of.resource),
            ("subresource", &of.subresource),
            ("namespace", &of.namespace),
            ("name", &of.name),
        ];
        let fits = |rule: &&Json| fields.iter().all(|(field, value)| rule.get(*field).is_none_or(|wanted| wanted == value));
        let said = |rule: &Json, field: &str| rule.get(field).and_then(Json::as_str).map(str::to_owned);
        self.rules.iter().find(fits).map_or_else(Decision::default, |rule| Decision {
            allowed: rule["decision"] == "allow",
            reason: said(rule, "reason").unwrap_or_default(),
            error: said(rule, "error"),
        })
    }
}
