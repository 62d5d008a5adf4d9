//! What a commit does, read from its diff alone: its message is a story that anyone may write.

#[cfg(test)]
mod cases;
mod lines;
mod quantity;

use std::collections::BTreeSet;

use self::lines::{Kind, Lines};
use super::Commit;

/// What a diff does that can break something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// A time after which one gives up became shorter.
    TimeoutShrunk,
    /// The same became longer.
    TimeoutGrown,
    /// Fewer connections.
    PoolShrunk,
    /// Fewer workers, replicas, smaller queues or quotas.
    CapacityShrunk,
    /// Less memory allowed.
    MemoryShrunk,
    /// Less processor allowed.
    ProcessorShrunk,
    /// More tries, or sooner.
    RetryGrown,
    /// Done more often, or in larger portions.
    FrequencyGrown,
    /// Kept for a shorter time, or not at all.
    CacheWeakened,
    /// A check against nothing is gone.
    GuardRemoved,
    /// A failure is passed over.
    FailureIgnored,
    /// A call that leaves the process, for each of many.
    CallInLoop,
    /// Something only grows.
    Unbounded,
    /// Something is no longer closed, released or ended.
    ReleaseRemoved,
    /// More is locked, or for longer.
    LockAdded,
    /// Less is locked.
    LockRemoved,
    /// A query has lost its index or its bound.
    QueryWidened,
    /// The schema of a database.
    Migration,
    /// What cannot be taken back by the old code.
    Irreversible,
    /// The form of what is exchanged.
    ContractChanged,
    /// Where a dependency is.
    EndpointChanged,
    /// Who one is and what one may.
    AccessChanged,
    /// Certificates and how they are checked.
    CertificateChanged,
    /// How names are resolved.
    ResolverChanged,
    /// What the network lets through.
    NetworkRuleChanged,
    /// How the platform tells whether it lives, or what it runs.
    RuntimeChanged,
    /// More is logged.
    LoggingGrown,
    /// More is computed for each request.
    ComputationGrown,
    /// Work that is begun and not waited for.
    SpawnAdded,
    /// By what is spread.
    PartitionChanged,
    /// A switch has another position.
    SwitchChanged,
    /// Another version of a dependency.
    DependencyChanged,
    /// A value of the configuration.
    ValueChanged,
    /// Otherwise behaves differently.
    BehaviourChanged,
}

/// A diff that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) effects: BTreeSet<Effect>,
    /// Nothing that runs was changed: documents, tests, styles, spaces.
    pub(super) inert: bool,
    /// Only configuration was changed.
    pub(super) configuration: bool,
}

/// Reads what `commit` does.
pub(super) fn read(commit: &Commit) -> Reading {
    let kinds: BTreeSet<Kind> = commit.files.iter().map(|file| lines::kind(file)).collect();
    let runs = kinds.is_empty() || kinds.iter().any(|kind| *kind != Kind::Inert);
    let configuration = !kinds.is_empty() && kinds.iter().all(|kind| matches!(kind, Kind::Configuration | Kind::Inert)) && runs;
    let lines = Lines::read(commit.diff.as_deref().unwrap_or_default());
    if !runs || lines.unchanged() {
        return Reading { inert: true, configuration, ..Reading::default() };
    }
    let mut effects = quantity::effects(&lines);
    if kinds.iter().all(|kind| matches!(kind, Kind::Dependency | Kind::Inert)) && !kinds.is_empty() {
        return Reading { effects: BTreeSet::from([Effect::DependencyChanged]), inert: false, configuration: false };
    }
    let mut note = |holds: bool, effect: Effect| {
        if holds {
            effects.insert(effect);
        }
    };
    let (added, removed) = (lines.added(), lines.removed());
    let more = |phrases: &[&str]| lines::count(added, phrases) > lines::count(removed, phrases);
    let fewer = |phrases: &[&str]| lines::count(added, phrases) < lines::count(removed, phrases);
    let either = |phrases: &[&str]| lines::count(added, phrases) + lines::count(removed, phrases) > 0;
    let differs = |phrases: &[&str]| either(phrases) && lines::holding(added, phrases) != lines::holding(removed, phrases);
    let guards = |lines: &[String]| lines.iter().filter(|line| !lines::checks_failure(line) && GUARDS.iter().any(|guard| line.contains(guard))).count();
    note(guards(added) < guards(removed), Effect::GuardRemoved);
    let failures = |lines: &[String]| lines.iter().filter(|line| lines::checks_failure(line)).count();
    note(failures(added) < failures(removed), Effect::FailureIgnored);
    note(lines.calls_in_loops() || fewer(TOGETHER), Effect::CallInLoop);
    note((lines.grows_what_stays() && !more(BOUNDS)) || fewer(BOUNDS), Effect::Unbounded);
    note(fewer(RELEASES), Effect::ReleaseRemoved);
    note(more(LOCKS), Effect::LockAdded);
    note(fewer(LOCKS) || fewer(RELEASED_LOCKS), Effect::LockRemoved);
    note(fewer(RELEASED_LOCKS), Effect::LockAdded);
    note(more(WIDER) || fewer(NARROWER), Effect::QueryWidened);
    note(more(DEFINITIONS) || kinds.contains(&Kind::Migration), Effect::Migration);
    note(more(DESTRUCTIVE), Effect::Irreversible);
    note(fewer(CONTRACTS) || differs(CONTRACTS) || more(STRICT), Effect::ContractChanged);
    note(lines.endpoints_differ(), Effect::EndpointChanged);
    note(differs(ACCESS), Effect::AccessChanged);
    note(differs(CERTIFICATES), Effect::CertificateChanged);
    note(differs(RESOLVERS), Effect::ResolverChanged);
    note(differs(NETWORK_RULES), Effect::NetworkRuleChanged);
    note(differs(RUNTIME), Effect::RuntimeChanged);
    note(more(VERBOSE), Effect::LoggingGrown);
    note(more(COMPUTATION) || lines.nested_loops_added(), Effect::ComputationGrown);
    note(more(SPAWNS), Effect::SpawnAdded);
    note(differs(PARTITIONS), Effect::PartitionChanged);
    note(more(RETRIES) || fewer(BACKOFFS), Effect::RetryGrown);
    note(fewer(CACHES), Effect::CacheWeakened);
    note(lines.switches_differ(), Effect::SwitchChanged);
    note(configuration && lines.values_differ(), Effect::ValueChanged);
    note(true, Effect::BehaviourChanged);
    Reading { effects, inert: false, configuration }
}

const GUARDS: &[&str] = &[
    "== nil",
    "!= nil",
    "is none",
    "is not none",
    "== null",
    "!= null",
    "=== undefined",
    "!== undefined",
    "?.",
    "?? ",
    ".is_some",
    ".is_none",
    "optional",
    "unwrap_or",
    "try {",
    "try:",
    "catch",
    "recover()",
    "except",
    "hasown",
    "isempty",
    "len(",
    ".length",
    ".getordefault",
    ", ok :=",
    "; ok {",
    "if ok ",
];
const TOGETHER: &[&str] =
    &["select_related", "prefetch_related", "joinedload", "preload(", "includes(", "eager", "batchget", "mget", "getmany", "getall", "any($", "in (?"];
const BOUNDS: &[&str] = &[
    "evict",
    "expire",
    "lru",
    "maxsize",
    "max_size",
    "max_entries",
    "maxentries",
    "bounded",
    "ttl",
    "delete(",
    "clear(",
    "truncate",
    ".pop(",
    "shift()",
    "reset()",
    "remove(",
];
const RELEASES: &[&str] =
    &[".close(", "release(", "dispose(", "using (", "with open", "cancel()", "defer ", "finally", ".stop(", "rollback()", "disconnect(", "putconn", "free("];
const LOCKS: &[&str] = &[
    ".lock(",
    "synchronized",
    "for update",
    "lock table",
    "mutex",
    "exclusive",
    "serializable",
    "begin transaction",
    "begintx",
    ".begin(",
    "with_lock",
    "acquire(",
    "lock in share",
];
const RELEASED_LOCKS: &[&str] = &["unlock(", "skip locked", "nowait", "concurrently"];
const WIDER: &[&str] = &["drop index", "like '%", "order by random", "cross join", "remove_index", "dropindex", "findall(", "find_all("];
const NARROWER: &[&str] = &["limit ", "limit(", " where ", ".where(", "create index", "add_index", "index:", "@index", "db_index"];
const DEFINITIONS: &[&str] =
    &["alter table", "create table", "drop table", "drop column", "add column", "rename column", "create index", "drop index", "add_column", "remove_column"];
const DESTRUCTIVE: &[&str] =
    &["drop column", "drop table", "rename column", "rename to", "truncate table", "remove_column", "drop_table", "rename_column", "delete from"];
const CONTRACTS: &[&str] = &["json:\"", "yaml:\"", "protobuf:\"", "serde(rename", "@jsonproperty", "reserved ", "enum ", "oneof ", "content-type", "column:\""];
const STRICT: &[&str] = &[
    "disallowunknownfields",
    "deny_unknown_fields",
    "strict=true",
    "strict: true",
    "additionalproperties: false",
    "fail_on_unknown",
    "required: true",
    "not null",
];
const ACCESS: &[&str] =
    &["secret", "password", "token", "api_key", "apikey", "credential", "scope", "role", "permission", "authorization", "serviceaccount", "audience", "issuer"];
const CERTIFICATES: &[&str] = &["tls", "certificate", "cert", "x509", "cafile", "ca_bundle", "truststore", "keystore", "insecureskipverify", "ssl"];
const RESOLVERS: &[&str] = &["dnspolicy", "dnsconfig", "ndots", "nameserver", "resolver", "resolv.conf", "searchdomain", "dns_"];
const NETWORK_RULES: &[&str] = &[
    "networkpolicy",
    "egress",
    "ingress",
    "podselector",
    "ipblock",
    "cidr",
    "firewall",
    "security_group",
    "securitygroup",
    "targetport",
    "containerport",
    "nodeport",
    "port:",
    "mtls",
    "destinationrule",
];
const RUNTIME: &[&str] = &[
    "livenessprobe",
    "readinessprobe",
    "startupprobe",
    "initialdelayseconds",
    "failurethreshold",
    "image:",
    "command:",
    "entrypoint",
    "args:",
    "nodeselector",
    "affinity",
    "gomaxprocs",
    "xmx",
    "-xx:",
];
const VERBOSE: &[&str] = &[
    "log.debug",
    "logger.debug",
    "loglevel: debug",
    "level: debug",
    "log_level=debug",
    "debug: true",
    "tracelevel",
    "log.trace",
    "dump(",
    "debuglevel",
    "level=debug",
];
const COMPUTATION: &[&str] = &[
    "regexp.mustcompile",
    "regexp.compile",
    "re.compile",
    "new regexp",
    "bcrypt",
    "scrypt",
    "pbkdf2",
    "sort.",
    ".sort(",
    "deepcopy",
    "json.marshal",
    "gzip.best",
    "for {",
    "while true",
    "while (true",
];
const SPAWNS: &[&str] = &["go func", "go ", "tokio::spawn", "thread(", "executor.submit", "create_task", "setinterval", "newticker", "subscribe("];
const PARTITIONS: &[&str] =
    &["partitionkey", "partition_key", "shardkey", "shard_key", "shard(", "partition(", "hash(", "fnv", "murmur", "routingkey", "sharding"];
const RETRIES: &[&str] = &["retry", "retries", "attempt", "withretry", "redeliver"];
const BACKOFFS: &[&str] = &["backoff", "jitter", "sleep(", "circuitbreaker", "breaker", "exponential"];
const CACHES: &[&str] = &["cache.get", "cache.set", ".cached", "cached(", "singleflight", "memo", "jitter", "@cacheable", "cache.put", "cache.fetch", "stale"];
