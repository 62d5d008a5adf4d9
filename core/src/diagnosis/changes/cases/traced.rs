//! Incidents whose traces show what figures do not.

use super::*;
use crate::ids::Domain::{Compute, Database, Network};
use Remedy::Rollback;

const IN_LOOP: &str = "@@ func Assemble(cart *Cart) {\n-\tfor _, line := range cart.Lines {\n-\t\torder.Add(line)\n-\t}\n+\tfor _, line := range cart.Lines {\n+\t\titem, err := a.catalog.GetItem(ctx, line.ID)\n+\t\tif err != nil {\n+\t\t\treturn err\n+\t\t}\n+\t\torder.Add(item)\n+\t}";

#[test]
fn equal_calls_for_each_of_many_are_the_callers_doing() {
    let mut story = alert("orders", "http_server_duration_p99_ms")
        .figure("orders", "http_server_duration_p99_ms", 200.0, 4_000.0)
        .figure("catalog", "requests_per_sec", 800.0, 4_000.0)
        .figure("catalog", "http_server_duration_p99_ms", 80.0, 130.0)
        .deploy(97, "orders", "loop", "services/orders/assemble.go", IN_LOOP)
        .bystanders("orders");
    let span = |id: String, parent: Option<&str>, service: &str| Span {
        trace: "t".to_owned(),
        id,
        parent: parent.map(str::to_owned),
        service: service.to_owned(),
        duration: 9.0,
        ..Span::default()
    };
    story.incident.spans.push(span("a".to_owned(), None, "orders"));
    // A recorder that writes one constant as the trace of all but the first span.
    story.incident.spans.extend((0..30).map(|number| Span { trace: "same".to_owned(), ..span(format!("c{number}"), Some("a"), "catalog") }));
    found(story, "orders", Database, "loop", Rollback);
}

#[test]
fn a_caller_that_gives_up_first_is_the_cause_and_not_its_callee() {
    let span = |id: &str, parent: Option<&str>, service: &str, duration: f64| Span {
        trace: "t".to_owned(),
        id: id.to_owned(),
        parent: parent.map(str::to_owned),
        service: service.to_owned(),
        duration,
        failed: true,
        ..Span::default()
    };
    let mut story = alert("rank", "rpc_client_error_rate")
        .figure("rank", "rpc_client_error_rate", 0.002, 0.6)
        .figure("catalog", "rpc_server_cancelled_rate", 0.001, 0.6)
        .log("rank", "fetch failed: context deadline exceeded", 20)
        .deploy(
            97,
            "rank",
            "short",
            "services/rank/client.go",
            "-\tctx, cancel := context.WithTimeout(ctx, 5*time.Second)\n+\tctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)",
        )
        .deploy(98, "catalog", "scan", "services/catalog/store.go", "-\tfor rows.Next() {\n-\t\trows.Scan(&p)\n-\t}\n+\treturn scanAll(rows)")
        .bystanders("rank");
    story.incident.spans = vec![span("a", None, "frontend", 900.0), span("b", Some("a"), "rank", 301.0), span("c", Some("b"), "catalog", 400.0)];
    found(story, "rank", Network, "short", Rollback);
}

#[test]
fn what_creeps_is_older_than_the_last_deployment() {
    let level = |minute: i64| if minute < 30 { 200.0 } else { 200.0 + (minute - 30) as f64 * 4.0 };
    let grows = "+var seen []record\n+\n+func remember(r record) {\n+\tseen = append(seen, r)\n+}";
    let bounded = "+var trending = lru.New(256)\n+\n+func refresh() {\n+\tfor _, it := range top() {\n+\t\ttrending.Add(it)\n+\t}\n+}";
    let story = alert("score", "container_oom_killed_total")
        .course("score", "container_memory_rss_mb", level)
        .figure("score", "container_oom_killed_total", 0.0, 3.0)
        .log("score", "GC pause, heap growing", 10)
        .deploy(28, "score", "grows", "services/score/history.go", grows)
        .deploy(95, "score", "bounded", "services/score/prefetch.go", bounded)
        .bystanders("score");
    found(story, "score", Compute, "grows", Rollback);
}
