//! One incident of each of many kinds, most with deployments that did nothing.

use super::*;
use crate::ids::Domain::{Application, Compute, Database, Network};
use Remedy::{ConfigRevert, EscalateUpstream, Failover, PurgeBadData, Reschedule, RollForward, Rollback, RotateCertificate, Scale};

#[test]
fn nothing_is_found_in_nothing() {
    assert_eq!(judge(&Incident::default()), Finding::default());
}

#[test]
fn an_expired_certificate_is_nobodys_commit() {
    let story = alert("orders", "error_rate_5xx_ratio")
        .figure("orders", "error_rate_5xx_ratio", 0.004, 0.8)
        .figure("orders", "tls_handshake_failures", 0.0, 40.0)
        .failing(&["frontend", "orders"], "tls: failed to verify certificate: x509: certificate has expired or is not yet valid")
        .log("orders", "dial ledger: x509: certificate has expired", 20)
        .deploy(90, "orders", "idle", "pkg/http/client.go", "-\tMaxIdleConns: 100,\n+\tMaxIdleConns: 200,")
        .bystanders("orders");
    found(story, "orders", Network, "none", RotateCertificate);
}

#[test]
fn a_provider_that_is_down_is_escalated() {
    let story = alert("payments", "external_call_error_ratio")
        .figure("payments", "external_call_error_ratio", 0.003, 0.9)
        .figure("payments", "http_server_duration_p99_ms", 120.0, 4_000.0)
        .figure("frontend", "error_rate_5xx_ratio", 0.004, 0.2)
        .failing(&["frontend", "payments"], "503 service unavailable from card provider")
        .log("payments", "charge failed: upstream provider returned 503", 25)
        .notice("Card provider: major outage of the API, we are investigating")
        .bystanders("payments");
    found(story, "payments", Network, "none", EscalateUpstream);
}

#[test]
fn a_lifetime_that_was_cut_makes_a_stampede() {
    let diff = "@@ func New() *Cache {\n-\treturn &Cache{ttl: 10 * time.Minute}\n+\treturn &Cache{ttl: 5 * time.Second}\n }";
    let story = alert("catalog", "http_server_duration_p99_ms")
        .figure("catalog", "http_server_duration_p99_ms", 80.0, 2_000.0)
        .figure("catalog", "cache_hit_ratio", 0.96, 0.2)
        .figure("catalog", "cache_miss_per_sec", 20.0, 900.0)
        .log("catalog", "cache miss storm on product keys, origin overloaded", 20)
        .deploy(96, "catalog", "ttl", "services/catalog/cache.go", diff)
        .bystanders("catalog");
    found(story, "catalog", Database, "ttl", Rollback);
}

#[test]
fn a_migration_that_locks_is_taken_back_and_one_that_drops_goes_forward() {
    let locked = |diff: &str| {
        alert("billing", "db_lock_wait_seconds_p99")
            .figure("billing", "db_lock_wait_seconds_p99", 0.01, 20.0)
            .figure("billing", "http_server_duration_p99_ms", 90.0, 9_000.0)
            .log("billing", "ERROR: canceling statement due to lock timeout", 20)
            .deploy(98, "billing", "schema", "migrations/0042_invoice.sql", diff)
            .bystanders("billing")
    };
    found(locked("+ALTER TABLE invoices ADD COLUMN note text;\n+CREATE INDEX invoices_note ON invoices (note);"), "billing", Database, "schema", Rollback);
    let dropped = alert("billing", "error_rate_5xx_ratio")
        .figure("billing", "error_rate_5xx_ratio", 0.002, 0.6)
        .figure("billing", "schema_mismatch_errors", 0.0, 50.0)
        .log("billing", "ERROR: column total_cents does not exist", 20)
        .deploy(98, "billing", "drop", "migrations/0043_total.sql", "+ALTER TABLE invoices DROP COLUMN total_cents;")
        .bystanders("billing");
    found(dropped, "billing", Application, "drop", RollForward);
}

#[test]
fn a_disk_that_verbose_logs_fill_is_a_setting() {
    let story = alert("audit", "filesystem_used_ratio")
        .course("audit", "filesystem_used_ratio", |minute| if minute < 60 { 0.4 } else { (0.4 + (minute - 60) as f64 * 0.012).min(1.0) })
        .figure("audit", "write_error_ratio", 0.001, 0.7)
        .log("audit", "write failed: no space left on device", 20)
        .deploy(58, "audit", "verbose", "deploy/audit/values.yaml", "-  log_level: info\n+  log_level: debug")
        .bystanders("audit");
    found(story, "audit", Compute, "verbose", ConfigRevert);
}

#[test]
fn a_disk_that_fills_by_itself_is_made_larger() {
    let story = alert("audit", "filesystem_used_ratio")
        .course("audit", "filesystem_used_ratio", |minute| (0.5 + minute as f64 * 0.005).min(1.0))
        .figure("audit", "write_error_ratio", 0.001, 0.7)
        .log("audit", "write failed: no space left on device", 20)
        .bystanders("audit");
    found(story, "audit", Compute, "none", Scale);
}

#[test]
fn retries_without_pause_are_a_storm() {
    let diff = "-const maxRetries = 3\n+const maxRetries = 20\n-\tsleep(backoff(n))\n";
    let story = alert("gateway", "rpc_retry_rate")
        .figure("gateway", "rpc_retry_rate", 2.0, 400.0)
        .figure("gateway", "http_server_duration_p99_ms", 100.0, 3_000.0)
        .figure("stock", "requests_per_sec", 50.0, 900.0)
        .log("gateway", "retrying call to stock, attempt 17", 20)
        .deploy(97, "gateway", "again", "services/gateway/client.go", diff)
        .bystanders("gateway");
    found(story, "gateway", Network, "again", Rollback);
}

#[test]
fn a_switch_that_was_thrown_just_then_is_thrown_back() {
    let story = alert("search", "error_rate_5xx_ratio")
        .figure("search", "error_rate_5xx_ratio", 0.002, 0.4)
        .figure("search", "unhandled_exception_count", 0.0, 30.0)
        .log("search", "unhandled exception in experiment ranker", 20)
        .flag(40, "search", "old_switch")
        .flag(99, "search", "new_ranker")
        .bystanders("search");
    found(story, "search", Application, "none", ConfigRevert);
}

#[test]
fn a_zone_that_is_gone_is_left() {
    let story = alert("frontend", "error_rate_5xx_ratio")
        .figure("frontend", "error_rate_5xx_ratio", 0.002, 0.34)
        .figure("lb", "zone_healthy_targets", 6.0, 0.0)
        .figure("lb", "cross_zone_errors", 0.0, 60.0)
        .log("frontend", "no healthy upstream in availability zone", 20)
        .bystanders("frontend");
    found(story, "frontend", Network, "none", Failover);
}

#[test]
fn more_users_than_capacity_is_scaled() {
    let story = alert("checkout", "http_server_duration_p99_ms")
        .figure("checkout", "http_server_duration_p99_ms", 120.0, 3_500.0)
        .figure("checkout", "http_requests_per_second", 100.0, 900.0)
        .figure("checkout", "hpa_replicas_at_max", 0.0, 1.0)
        .log("checkout", "load shedding: request rejected, server overloaded", 20)
        .bystanders("checkout");
    found(story, "checkout", Compute, "none", Scale);
}

#[test]
fn a_clock_that_runs_away_is_left_behind() {
    let story = alert("auth", "error_rate_4xx_ratio")
        .figure("auth", "error_rate_4xx_ratio", 0.002, 0.3)
        .figure("auth", "ntp_clock_offset_seconds", 0.001, 90.0)
        .log("auth", "request refused: issued in the future, clock skew above 30s", 20)
        .bystanders("auth");
    found(story, "auth", Compute, "none", Reschedule);
}

#[test]
fn a_wrong_address_in_a_setting_is_reverted() {
    let story = alert("mail", "dependency_error_ratio")
        .figure("mail", "dependency_error_ratio", 0.002, 0.95)
        .failing(&["orders", "mail"], "connection refused")
        .log("mail", "relay not configured: connection refused", 20)
        .deploy(98, "mail", "moved", "deploy/mail/config.yaml", "-relay: smtp.internal.example.com:587\n+relay: smtp2.internal.example.com:25")
        .bystanders("mail");
    let finding = judge(&story.incident);
    let (service, _, commit, remedy) = brief(&finding);
    assert_eq!((service, commit, remedy), ("mail", "moved", Some(ConfigRevert)), "{:#?}", finding.suspicions[0]);
}

#[test]
fn asking_a_provider_more_often_is_taken_back_and_a_lower_quota_is_escalated() {
    let limited = || {
        alert("rates", "provider_429_ratio")
            .figure("rates", "provider_429_ratio", 0.0, 0.7)
            .log("rates", "429 too many requests: rate limit exceeded", 20)
            .bystanders("rates")
    };
    let polled =
        limited().deploy(97, "rates", "poll", "services/rates/poll.go", "-const pollInterval = 60 * time.Second\n+const pollInterval = 1 * time.Second");
    found(polled, "rates", Application, "poll", Rollback);
    assert_eq!(judge(&limited().incident).commit, None);
    assert_eq!(judge(&limited().incident).remedy, Some(EscalateUpstream));
}

#[test]
fn a_primary_that_is_lost_fails_over() {
    let story = alert("ledger", "error_rate_5xx_ratio")
        .figure("ledger", "error_rate_5xx_ratio", 0.002, 0.5)
        .figure("ledger-db", "replication_lag_seconds", 0.2, 300.0)
        .figure("ledger-db", "primary_up", 1.0, 0.0)
        .log("ledger", "cannot execute INSERT in a read-only transaction", 20)
        .bystanders("ledger");
    found(story, "ledger", Database, "none", Failover);
}

#[test]
fn fewer_workers_make_a_backlog() {
    let story = alert("mailer", "queue_oldest_message_age_seconds")
        .course("mailer", "queue_oldest_message_age_seconds", |minute| if minute < BREAKS { 4.0 } else { 4.0 + (minute - BREAKS) as f64 * 90.0 })
        .figure("mailer", "queue_depth", 20.0, 9_000.0)
        .log("mailer", "queue depth growing, consumer falling behind", 20)
        .deploy(97, "mailer", "fewer", "services/mailer/pool.go", "-const concurrency = 32\n+const concurrency = 2")
        .bystanders("mailer");
    found(story, "mailer", Application, "fewer", Rollback);
}

#[test]
fn an_expired_credential_is_rotated() {
    let story = alert("export", "auth_failure_ratio")
        .figure("export", "auth_failure_ratio", 0.001, 0.99)
        .failing(&["cron", "export"], "401 unauthorized: token expired")
        .log("export", "upload failed: 401 unauthorized, api key expired", 20)
        .bystanders("export");
    found(story, "export", Application, "none", RotateCertificate);
}

#[test]
fn another_key_to_spread_by_makes_one_shard_hot() {
    let story = alert("feed", "shard_write_latency_p99_ms")
        .figure("feed", "shard_write_latency_p99_ms", 9.0, 900.0)
        .figure("feed", "hot_shard_share", 0.1, 0.9)
        .log("feed", "hot partition: writes to shard 7 throttled", 20)
        .deploy(95, "feed", "spread", "services/feed/route.go", "-\treturn shard(e.UserID)\n+\treturn shard(e.Country)")
        .bystanders("feed");
    found(story, "feed", Database, "spread", Rollback);
}

#[test]
fn a_record_that_nobody_can_read_is_put_aside_unless_the_form_was_changed() {
    let poisoned = || {
        alert("ingest", "deserialization_error_ratio")
            .figure("ingest", "deserialization_error_ratio", 0.002, 0.97)
            .figure("ingest", "queue_oldest_message_age_seconds", 10.0, 600.0)
            .log("ingest", "malformed record, redelivering", 20)
            .bystanders("ingest")
    };
    found(poisoned(), "ingest", Application, "none", PurgeBadData);
    let changed = poisoned().deploy(
        98,
        "ingest",
        "form",
        "services/ingest/event.go",
        "-\tID string `json:\"id\"`\n+\tID string `json:\"event_id\"`\n+\tdec.DisallowUnknownFields()",
    );
    assert_eq!(judge(&changed.incident).commit.as_deref(), Some("form"));
}

#[test]
fn a_callee_that_failed_first_is_named_before_the_service_that_alerts() {
    let story = alert("frontend", "error_rate_5xx_ratio")
        .figure("frontend", "error_rate_5xx_ratio", 0.002, 0.5)
        .figure("cart", "error_rate_5xx_ratio", 0.002, 0.6)
        .figure("cart", "panic_count", 0.0, 30.0)
        .failing(&["frontend", "cart"], "nil pointer dereference")
        .failing(&["frontend", "cart"], "nil pointer dereference")
        .log("cart", "panic: nil pointer dereference", 20)
        .deploy(98, "cart", "unguarded", "services/cart/total.go", "-\tif c.Coupon == nil {\n-\t\treturn 0\n-\t}\n \treturn c.Coupon.Value")
        .bystanders("frontend");
    found(story, "cart", Application, "unguarded", Rollback);
}

#[test]
fn what_was_deployed_after_it_broke_is_innocent() {
    let story = alert("cart", "panic_count").figure("cart", "panic_count", 0.0, 30.0).log("cart", "panic: nil pointer dereference", 20).deploy(
        107,
        "cart",
        "later",
        "services/cart/total.go",
        "-\tif c.Coupon == nil {\n-\t\treturn 0\n-\t}\n \treturn c.Coupon.Value",
    );
    assert_eq!(judge(&story.incident).commit, None);
}
