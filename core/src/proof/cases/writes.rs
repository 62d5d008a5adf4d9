//! One write: the voted change, its dry run, its one revert, and nothing else.

use super::fixture::{Fixture, PLANNED, other_incident, recast};
use super::*;
use crate::ballot::Ballot;

type Spoil<'a> = &'a dyn Fn(&mut Facts, &mut WriteRequest);

fn apply(fixture: &Fixture, spoil: Spoil<'_>) -> Result<Admitted, Refusal> {
    let (mut facts, mut request) = (fixture.planned(), fixture.apply());
    spoil(&mut facts, &mut request);
    judge_write(&facts, &request)
}

fn dry_run(fixture: &Fixture, spoil: Spoil<'_>) -> Result<Admitted, Refusal> {
    let (mut facts, mut request) = (fixture.facts(), fixture.apply());
    request.dry_run = true;
    spoil(&mut facts, &mut request);
    judge_write(&facts, &request)
}

fn revert(fixture: &Fixture, spoil: Spoil<'_>) -> Result<Admitted, Refusal> {
    let (mut facts, mut request) = (fixture.applied(), fixture.revert());
    spoil(&mut facts, &mut request);
    judge_write(&facts, &request)
}

#[test]
fn the_voted_write_passes_for_every_action() {
    for fixture in Fixture::all() {
        assert_eq!(apply(&fixture, &|_, _| {}), Ok(Admitted::Apply));
        assert_eq!(dry_run(&fixture, &|_, _| {}), Ok(Admitted::DryRun));
        // With a plan a dry run is judged by it.
        assert_eq!(apply(&fixture, &|_, request| request.dry_run = true), Ok(Admitted::Apply));
    }
}

#[test]
fn a_write_without_plan_is_refused() {
    let scale = Fixture::scale();
    refused(apply(&scale, &|facts, _| facts.plans.clear()), Rule::NoPlan);
    refused(apply(&scale, &|_, request| request.name = "other".into()), Rule::NoPlan);
    refused(apply(&scale, &|_, request| request.namespace = "other".into()), Rule::NoPlan);
    refused(apply(&scale, &|_, request| request.incidents = vec![other_incident().to_string()]), Rule::NoPlan);
    refused(apply(&scale, &|_, request| request.incidents.clear()), Rule::IncidentExtra);
    // What the executor's challenge asks for: a dry run for an incident that nobody voted on.
    refused(dry_run(&scale, &|facts, _| facts.ballots = Ok(vec![])), Rule::NoPlan);
}

#[test]
fn the_resource_and_the_options_are_the_actions() {
    let scale = Fixture::scale();
    for spoil in [
        (&|_: &mut Facts, r: &mut WriteRequest| r.subresource = String::new()) as Spoil<'_>,
        &|_, r| r.version = "v1beta1".into(),
        &|_, r| r.group = "extensions".into(),
        &|_, r| r.resource = "statefulsets".into(),
        &|_, r| r.operation = "DELETE".into(),
        &|_, r| r.operation = "CREATE".into(),
        &|_, r| r.field_manager = "kubectl".into(),
        &|_, r| r.field_manager = String::new(),
    ] {
        refused(apply(&scale, spoil), Rule::Resource);
    }
}

#[test]
fn everything_is_proven_again_at_the_write() {
    let scale = Fixture::scale();
    refused(apply(&scale, &|facts, _| facts.now = facts.now.plus(60_000 + 1)), Rule::Clock);
    let later = |facts: &mut Facts, by: i64| {
        facts.now = PLANNED.plus(by);
        facts.own_clock = facts.now;
    };
    assert_eq!(apply(&scale, &|facts, _| later(facts, 60_000)), Ok(Admitted::Apply));
    refused(apply(&scale, &|facts, _| later(facts, 60_001)), Rule::Expired);
    refused(apply(&scale, &|facts, _| facts.paused = Some("lunch".into())), Rule::Paused);
    refused(apply(&scale, &|facts, _| facts.blueprint = None), Rule::Blueprint);
    refused(apply(&scale, &|facts, _| facts.guardrail_denial = Some(Refusal::new(Rule::Guardrail, "no", "yes"))), Rule::Guardrail);
    refused(apply(&scale, &|facts, _| facts.guardrails = Digest::of_bytes(b"other")), Rule::Authority);
    refused(apply(&scale, &|facts, _| facts.ballots.iter_mut().for_each(|all| all.truncate(4))), Rule::Quorum);
    refused(apply(&scale, &|facts, _| facts.target = None), Rule::Stale);
    refused(apply(&scale, &|facts, _| facts.target.as_mut().unwrap()["metadata"]["uid"] = json!("v")), Rule::Stale);
    // The generation is the planned one, the specification is not: a collision, or a forged object.
    refused(apply(&scale, &|facts, _| facts.target.as_mut().unwrap()["spec"]["paused"] = json!(true)), Rule::Stale);
}

#[test]
fn the_write_changes_what_was_voted_and_nothing_else() {
    refused(apply(&Fixture::scale(), &|_, request| request.new["spec"]["replicas"] = json!(4)), Rule::Difference);
    refused(apply(&Fixture::scale(), &|_, request| request.new["metadata"]["finalizers"] = json!(["x"])), Rule::Difference);
    refused(apply(&Fixture::restart(), &|_, request| request.new["spec"]["template"]["spec"]["hostNetwork"] = json!(true)), Rule::Difference);
    refused(apply(&Fixture::restart(), &|_, request| request.new["spec"]["replicas"] = json!(3)), Rule::Difference);
    refused(apply(&Fixture::rollback(), &|_, request| request.new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil:1")), Rule::Difference);
    refused(apply(&Fixture::rollback(), &|_, request| request.new["metadata"]["ownerReferences"] = json!([{"uid": "gone"}])), Rule::Difference);
    let resources = |request: &mut WriteRequest, more: Value| request.new["spec"]["template"]["spec"]["containers"][0]["resources"] = more;
    let more = json!({"requests": {"memory": "256Mi"}, "limits": {"memory": "512Mi"}});
    refused(apply(&Fixture::adjust(256), &|_, request| resources(request, more.clone())), Rule::Difference);
    let beside = json!({"requests": {"memory": "256Mi", "cpu": "1"}, "limits": {"memory": "256Mi"}});
    refused(apply(&Fixture::adjust(256), &|_, request| resources(request, beside.clone())), Rule::Difference);
    refused(apply(&Fixture::adjust(256), &|_, request| request.new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil:1")), Rule::Difference);
    // Who takes another's field along takes more than was voted.
    refused(apply(&Fixture::adjust(256), &|_, request| request.new["metadata"]["managedFields"] = json!([])), Rule::Difference);
    // The configuration that the revision was seen healthy with is gone or another.
    refused(apply(&Fixture::rollback(), &|facts, _| facts.configurations.clear()), Rule::Stale);
    refused(apply(&Fixture::rollback(), &|facts, _| facts.configurations[0].1 = Digest::of_bytes(b"other")), Rule::Stale);
}

#[test]
fn what_a_config_map_is_said_to_hold_must_be_so_at_the_write() {
    let revert = Fixture::revert_config();
    // It was edited once more, or mended; the copy is gone, can be changed (which counts as gone), or holds something else.
    refused(apply(&revert, &|facts, _| facts.configurations[0].1 = Digest::of_bytes(b"edited again")), Rule::Stale);
    refused(apply(&revert, &|facts, _| facts.configurations.truncate(1)), Rule::Stale);
    refused(apply(&revert, &|facts, _| facts.configurations[1].1 = Digest::of_bytes(b"evil")), Rule::Stale);
    let container = |request: &mut WriteRequest, key: &str, value: Value| request.new["spec"]["template"]["spec"]["containers"][0][key] = value;
    refused(apply(&revert, &|_, request| container(request, "envFrom", json!([{"configMapRef": {"name": "settings-0123456789"}}]))), Rule::Difference);
    refused(apply(&revert, &|_, request| container(request, "image", json!("evil:1"))), Rule::Difference);
    refused(apply(&revert, &|_, request| container(request, "env", json!([{"name": "A", "value": "evil"}]))), Rule::Difference);
}

#[test]
fn a_dry_run_needs_votes_for_this_very_change() {
    let scale = Fixture::scale();
    refused(dry_run(&scale, &|facts, _| facts.ballots.iter_mut().for_each(|all| all.truncate(4))), Rule::Quorum);
    refused(dry_run(&scale, &|_, request| request.name = "other".into()), Rule::NoPlan);
    refused(dry_run(&scale, &|_, request| request.subresource = String::new()), Rule::Resource);
    refused(dry_run(&scale, &|_, request| request.new["spec"]["replicas"] = json!(4)), Rule::Difference);
    refused(dry_run(&scale, &|facts, _| facts.paused = Some("lunch".into())), Rule::Paused);
    refused(dry_run(&scale, &|facts, _| facts.target.as_mut().unwrap()["metadata"]["generation"] = json!(5)), Rule::Stale);
    refused(dry_run(&scale, &|facts, _| facts.target = None), Rule::Stale);
    refused(dry_run(&scale, &|facts, _| facts.roster = Err("none".into())), Rule::NoRoster);
}

#[test]
fn the_inverse_passes_once_and_survives_what_stops_new_actions() {
    for fixture in [Fixture::scale(), Fixture::rollback(), Fixture::adjust(256)] {
        assert_eq!(revert(&fixture, &|_, _| {}), Ok(Admitted::Revert));
        let stopped = |facts: &mut Facts, _: &mut WriteRequest| {
            facts.paused = Some("lunch".into());
            facts.guardrail_denial = Some(Refusal::new(Rule::Guardrail, "no", "yes"));
            // Long after ballots and the right to apply expired, with a Blueprint that allows nothing any more.
            facts.now = PLANNED.plus(600_000);
            facts.own_clock = facts.now;
            facts.blueprint.iter_mut().for_each(|blueprint| blueprint.effective.service.rules.operations.allowed.clear());
            // What was changed since takes the owed revert from nobody.
            facts.blueprint.iter_mut().for_each(|blueprint| blueprint.changed_at = PLANNED);
            facts.rules_changed_at = Some(PLANNED);
        };
        assert_eq!(revert(&fixture, &stopped), Ok(Admitted::Revert));
        refused(
            revert(&fixture, &|facts, _| {
                facts.now = PLANNED.plus(600_001);
                facts.own_clock = facts.now;
            }),
            Rule::Revert,
        );
        // Once it is back, the target is two generations later.
        refused(revert(&fixture, &|facts, _| facts.target.as_mut().unwrap()["metadata"]["generation"] = json!(6)), Rule::Revert);
    }
}

/// Somebody scaled the target to `replicas`, in `generations` steps, after `last` wrote its template.
fn scaled(replicas: u32, generations: i64, last: &'static str) -> impl Fn(&mut Facts, &mut WriteRequest) {
    move |facts, request| {
        let target = facts.target.as_mut().unwrap();
        let mine = json!({"manager": last, "operation": "Update", "time": "1970-01-01T00:16:55Z",
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                "f:image": {}, "f:resources": {"f:requests": {"f:memory": {}}, "f:limits": {"f:memory": {}}}}}}}}}});
        for object in [target, &mut request.old, &mut request.new] {
            object["spec"]["replicas"] = json!(replicas);
            // A Scale has none.
            object["metadata"]["managedFields"].as_array_mut().into_iter().for_each(|entries| entries.push(mine.clone()));
        }
        facts.target.as_mut().unwrap()["metadata"]["generation"] = json!(5 + generations);
    }
}

#[test]
fn no_write_leaves_an_entry_that_no_update_makes() {
    let forge =
        |entry: Value| move |_: &mut Facts, request: &mut WriteRequest| request.new["metadata"]["managedFields"].as_array_mut().unwrap().push(entry.clone());
    let own = |operation: &str, subresource: &str| {
        json!({"manager": "assent-executor", "operation": operation, "subresource": subresource, "apiVersion": "apps/v1", "time": "2099-01-01T00:00:00Z",
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:x": {}}}}}})
    };
    assert_eq!(apply(&Fixture::rollback(), &forge(own("Update", ""))), Ok(Admitted::Apply));
    for entry in [own("Apply", ""), own("Update", "status")] {
        refused(apply(&Fixture::rollback(), &forge(entry)), Rule::Difference);
    }
    let twice = |facts: &mut Facts, request: &mut WriteRequest| {
        forge(own("Update", ""))(facts, request);
        forge(own("Update", ""))(facts, request);
    };
    refused(apply(&Fixture::rollback(), &twice), Rule::Difference);
}

#[test]
fn who_only_scaled_since_takes_the_owed_revert_from_nobody() {
    for fixture in [Fixture::rollback(), Fixture::adjust(256)] {
        for (replicas, generations) in [(3, 1), (1, 1), (7, 4)] {
            assert_eq!(revert(&fixture, &scaled(replicas, generations, "assent-executor")), Ok(Admitted::Revert));
        }
        // Whose the change is now is somebody else's: they brought it back by hand after it was put back.
        refused(revert(&fixture, &scaled(3, 2, "kubectl-edit")), Rule::Revert);
        let also = |more: fn(&mut Value)| {
            move |facts: &mut Facts, request: &mut WriteRequest| {
                scaled(3, 1, "assent-executor")(facts, request);
                [facts.target.as_mut().unwrap(), &mut request.old, &mut request.new].into_iter().for_each(more);
            }
        };
        refused(revert(&fixture, &also(|object| object["spec"]["minReadySeconds"] = json!(5))), Rule::Revert);
        refused(revert(&fixture, &also(|object| object["metadata"]["uid"] = json!("v"))), Rule::Stale);
        // Times that the plan's own write cannot have, and entries that it does not make.
        for time in ["1970-01-01T00:16:00Z", "1970-01-01T00:18:00Z", "2099-01-01T00:00:00Z", "soon"] {
            let forged = |facts: &mut Facts, request: &mut WriteRequest| {
                scaled(3, 1, "assent-executor")(facts, request);
                for object in [facts.target.as_mut().unwrap(), &mut request.old, &mut request.new] {
                    object["metadata"]["managedFields"][1]["time"] = json!(time);
                }
            };
            refused(revert(&fixture, &forged), Rule::Revert);
        }
        refused(revert(&fixture, &also(|object| object["metadata"]["managedFields"][1]["operation"] = json!("Apply"))), Rule::Revert);
        // The number is not ours to write.
        let back = |facts: &mut Facts, request: &mut WriteRequest| {
            scaled(3, 1, "assent-executor")(facts, request);
            request.new["spec"]["replicas"] = json!(2);
        };
        refused(revert(&fixture, &back), Rule::Difference);
    }
    // A number of replicas that somebody else set is theirs.
    refused(revert(&Fixture::scale(), &scaled(4, 1, "assent-executor")), Rule::Revert);
}

#[test]
fn a_vote_after_the_plan_stops_its_write_and_takes_no_revert_back() {
    type Change = fn(&mut Ballot);
    let scale = Fixture::scale();
    let cast_at = |created_at: UnixMillis, change: Change| {
        move |facts: &mut Facts, _: &mut WriteRequest| {
            let all = facts.ballots.as_mut().unwrap();
            let mut ballot = all[0].ballot.clone();
            change(&mut ballot);
            all.push(recast(ballot, created_at));
        }
    };
    // A vote in a later epoch; and a second, different one of a supporter, by which it would be void.
    let table: [(Change, Rule); 2] = [(|ballot| ballot.epoch = 2, Rule::Epoch), (|ballot| ballot.rules = "other".into(), Rule::Support)];
    for (change, rule) in table {
        refused(apply(&scale, &cast_at(PLANNED, change)), rule);
        assert_eq!(revert(&scale, &cast_at(PLANNED, change)), Ok(Admitted::Revert));
        // Before the plan it would have stopped it: it cannot have been admitted.
        refused(revert(&scale, &cast_at(PLANNED.plus(-1), change)), rule);
    }
}

#[test]
fn a_revert_restores_what_was_and_only_over_what_we_left() {
    refused(revert(&Fixture::restart(), &|_, _| {}), Rule::Revert);
    refused(revert(&Fixture::scale(), &|facts, _| facts.target.as_mut().unwrap()["spec"]["replicas"] = json!(4)), Rule::Revert);
    let hotfix =
        |facts: &mut Facts, _: &mut WriteRequest| facts.target.as_mut().unwrap()["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:hotfix");
    refused(revert(&Fixture::rollback(), &hotfix), Rule::Revert);
    refused(revert(&Fixture::scale(), &|_, request| request.new["spec"]["replicas"] = json!(1)), Rule::Difference);
    let resized = |facts: &mut Facts, _: &mut WriteRequest| {
        facts.target.as_mut().unwrap()["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("1Gi");
    };
    refused(revert(&Fixture::adjust(256), &resized), Rule::Revert);
    refused(revert(&Fixture::rollback(), &|_, request| request.new["spec"]["replicas"] = json!(1)), Rule::Difference);
    refused(revert(&Fixture::rollback(), &|_, request| request.new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:1")), Rule::Difference);
    refused(revert(&Fixture::scale(), &|facts, _| facts.ballots.iter_mut().for_each(Vec::clear)), Rule::Quorum);
}
