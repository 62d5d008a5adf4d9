//! Diffs and the effect that each is read to have.

use super::*;

fn effects(file: &str, diff: &str) -> Reading {
    read(&Commit { sha: "c".to_owned(), files: vec![file.to_owned()], diff: Some(diff.to_owned()) })
}

#[track_caller]
fn makes(diff: &str, effect: Effect) {
    let reading = effects("services/a/b.go", diff);
    assert!(reading.effects.contains(&effect), "{reading:?}");
}

#[track_caller]
fn spares(diff: &str, effect: Effect) {
    let reading = effects("services/a/b.go", diff);
    assert!(!reading.effects.contains(&effect), "{reading:?}");
}

#[test]
fn documents_tests_styles_and_spaces_do_nothing() {
    for file in ["docs/a.md", "pkg/a_test.go", "web/app.css", "CODEOWNERS", ".github/workflows/ci.yml"] {
        assert!(effects(file, "-timeout: 5s\n+timeout: 1s").inert, "{file}");
    }
    assert!(effects("deploy/a.yaml", "-a: x\n-b:  y\n+# by letter\n+b: y\n+a:   x").inert);
    assert!(effects("a.go", "").inert);
    assert!(!effects("a.go", "-a := 1\n+a := 2").inert);
    assert!(effects("deploy/a.yaml", "-a: 1\n+a: 2").configuration);
}

#[test]
fn figures_are_compared_in_their_units() {
    makes("-\tctx, c := context.WithTimeout(ctx, 5*time.Second)\n+\tctx2, c := context.WithTimeout(ctx, 300*time.Millisecond)", Effect::TimeoutShrunk);
    makes("-timeout: 2s\n+timeout: 1m", Effect::TimeoutGrown);
    spares("-timeout: 1m\n+timeout: 60s", Effect::TimeoutShrunk);
    makes("-const defaultMaxConns = 50\n+const defaultMaxConns = 10", Effect::PoolShrunk);
    spares("-\tcfg.MaxConnIdleTime = 5 * time.Minute\n+\tcfg.MaxConnIdleTime = 30 * time.Second", Effect::PoolShrunk);
    makes("-  memory: 1Gi\n+  memory: 256Mi", Effect::MemoryShrunk);
    makes("-retries: 3\n+retries: 10", Effect::RetryGrown);
    spares("-  cache_entries: 50000\n+  cache_entries: 60000", Effect::CacheWeakened);
}

#[test]
fn a_check_that_moves_is_still_there() {
    makes("-\tif resp.Extra == nil {\n-\t\treturn \"\"\n-\t}\n \treturn resp.Extra.Status", Effect::GuardRemoved);
    spares("-\tif resp.Extra == nil {\n-\t\treturn \"\"\n-\t}\n+\tif resp.Extra == nil { return \"\" }", Effect::GuardRemoved);
    spares("-\tif err != nil {\n-\t\treturn err\n-\t}", Effect::GuardRemoved);
    makes("-\tif err != nil {\n-\t\treturn err\n-\t}", Effect::FailureIgnored);
}

#[test]
fn calls_count_inside_loops_only() {
    makes(" for order in orders:\n+    customer = session.get(order.customer)\n", Effect::CallInLoop);
    spares(" for order in orders:\n     total += order.sum\n+customer = session.get(key)\n", Effect::CallInLoop);
    makes("-orders = Order.objects.select_related('customer')\n+orders = Order.objects.all()", Effect::CallInLoop);
    spares("@@ first @@\n for a in b:\n@@ second @@\n+        customer = session.get(key)", Effect::CallInLoop);
}

#[test]
fn what_stays_and_only_grows_is_unbounded() {
    makes("+var log []entry\n+func note(e entry) {\n+\tlog = append(log, e)\n+}", Effect::Unbounded);
    makes("+\tprivate static final Map<String, User> users = new HashMap<>();\n+\tusers.put(id, user);", Effect::Unbounded);
    spares("+var recent = lru.New(10)\n+func note(e entry) {\n+\trecent.Add(e)\n+}", Effect::Unbounded);
    spares("+func all() []entry {\n+\tout := []entry{}\n+\tout = append(out, e)\n+\treturn out\n+}", Effect::Unbounded);
    makes("-\tcache.evict(oldest)", Effect::Unbounded);
}

#[test]
fn an_address_differs_when_it_is_another_one() {
    makes("-url: http://pay.shop.svc.cluster.local:8080\n+url: http://pay.store.svc.cluster.local:8080", Effect::EndpointChanged);
    spares("-url: http://pay.shop.svc.cluster.local:8080\n+url:   http://pay.shop.svc.cluster.local:8080\n+mail: smtp.example.com:25", Effect::EndpointChanged);
    makes("-enabled: false\n+enabled: true", Effect::SwitchChanged);
}

#[test]
fn a_comment_makes_nothing() {
    for comment in ["// the mutex.Lock( was the cause", "# DROP INDEX users", "-- DROP COLUMN a"] {
        let reading = effects("a.go", &format!("-\ta()\n+\tb()\n+\t{comment}"));
        assert_eq!(reading.effects.iter().collect::<Vec<_>>(), [&Effect::BehaviourChanged], "{comment}");
    }
}
