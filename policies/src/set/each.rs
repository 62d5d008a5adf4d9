//! What each policy of a set says by itself, for those who look at what exists: the same judgement as of the whole set, told
//! apart by policy, with what a policy asks for that only a real request has.

use super::Set;
use super::judge::{Task, follow_task};
use crate::policy::audit::Collector;
use crate::policy::compile::Policy;
use crate::policy::outcome::Outcome;
use crate::policy::request::Request;
use crate::policy::spec::ParamKind;

/// One policy on a request, by one of its bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Name of the policy.
    pub policy: String,
    /// Name of the binding; absent where the policy itself is at fault.
    pub binding: Option<String>,
    /// What the policy asks for beside the object.
    pub lacks: Lacks,
    /// What it says. Where it lacks something, this is what follows from that.
    pub outcome: Outcome,
}

/// What a policy asks for that is more than an object and its Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Params of this kind.
    pub params: Option<ParamKind>,
    /// Who may do what.
    pub authorizer: bool,
    /// The object before.
    pub old_object: bool,
}

// === impl Set ===

impl Set {
    /// What every policy of those that `wanted` names says, where it could be concerned, in order.
    #[must_use]
    pub fn each(&self, request: &Request<'_>, wanted: &dyn Fn(&str) -> bool) -> Vec<Said> {
        let mut all = Vec::new();
        self.each_task(request, &mut |shared, loaded, task| {
            if !wanted(&loaded.policy.name) {
                return;
            }
            let mut say = |binding: Option<String>, task: &Task<'_>| {
                let (mut outcome, mut collector) = (Outcome::default(), Collector::default());
                follow_task(&mut outcome, &mut collector, shared, loaded, task);
                outcome.annotations = collector.finish();
                all.push(Said { policy: loaded.policy.name.clone(), binding, lacks: Lacks::of(&loaded.policy), outcome });
            };
            match task {
                Task::Fault(_) => say(None, &task),
                Task::Judge(form, numbers) => {
                    for number in numbers {
                        let binding = usize::try_from(number).ok().and_then(|at| loaded.bindings.get(at));
                        say(binding.map(|binding| binding.name.clone()), &Task::Judge(form, vec![number]));
                    }
                }
            }
        });
        all
    }
}

// === impl Lacks ===

impl Lacks {
    fn of(policy: &Policy) -> Self {
        Self { params: policy.spec.param_kind.clone(), authorizer: policy.asks_authorizer(), old_object: policy.looks_at_old_object() }
    }
}

#[cfg(test)]
mod cases {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::request::{Kind, Resource};

    fn set() -> Set {
        let policy = |name: &str, condition: &str, validation: &str| {
            let spec = json!({
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}]},
                "matchConditions": [{"name": "c", "expression": condition}],
                "validations": [{"expression": validation}],
            });
            (name.to_owned(), spec)
        };
        let policies = vec![policy("a-denies", "true", "false"), policy("b-passes", "true", "object != oldObject"), policy("c-silent", "false", "false")];
        let bindings = ["a-denies", "b-passes", "c-silent"].map(|name| (name.to_owned(), json!({"policyName": name, "validationActions": ["Deny"]})));
        Set::new(policies, bindings.into())
    }

    #[test]
    fn each_policy_speaks_for_itself_and_together_they_say_what_the_set_says() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        let request = Request {
            kind: Kind { group: "", version: "v1", kind: "Pod" },
            resource: Resource { group: "", version: "v1", resource: "pods" },
            object: &object,
            old_object: &Value::Null,
            ..Request::default()
        };
        let set = set();
        let said = set.each(&request, &|_| true);
        let asked: Vec<_> = said.iter().map(|said| (said.policy.as_str(), said.outcome.asked.len(), said.outcome.allowed())).collect();
        assert_eq!(asked, [("a-denies", 1, false), ("b-passes", 1, true), ("c-silent", 0, true)]);
        assert_eq!(said.iter().map(|said| said.lacks.old_object).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(set.each(&request, &|name| name == "b-passes").len(), 1);
        let whole = set.evaluate(&request);
        assert_eq!(whole.decisions, said.iter().flat_map(|said| said.outcome.decisions.clone()).collect::<Vec<_>>());
        assert_eq!(whole.asked.len(), 2);
    }
}
