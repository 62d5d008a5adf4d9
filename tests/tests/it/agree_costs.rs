//! The cost limits of a real API server and of our engine are met at the same point: found by bisection on the server, over
//! the length of a text in the object, and to the unit by a second text that costs one unit for ten characters.

use std::ops::Range;

use assent_tests::alike::{Asked, Engine, Guarded, Server};
use serde_json::{Value, json};

/// What is evaluated for every character `c` of `object.data.text`; always true.
const EXPRESSIONS: [(&str, &str); 12] = [
    ("regex", "c.matches('^[a-z]$')"),
    ("find", "c.find('[a-z]+') == c"),
    ("lists", "[c, 'b'].indexOf('b') == 1"),
    ("sets", "sets.contains([c, 'b'], ['b'])"),
    ("strings", "(c + 'b').replace('b', 'c').upperAscii() == 'AC'"),
    ("url", "url('https://example.com/' + c).getHost() == 'example.com'"),
    ("cidr", "cidr('10.0.0.0/8').containsIP(ip('10.0.0.' + string(c.size())))"),
    ("quantity", "quantity(string(c.size()) + 'Mi').isLessThan(quantity('1Gi'))"),
    ("semver", "semver('1.2.' + string(c.size())).isGreaterThan(semver('1.2.0'))"),
    ("format", "'%s-%d'.format([c, 1]) == 'a-1'"),
    ("comprehension", "{c: 1}.transformMap(k, v, v + 1).all(k, v, k == c && v == 2)"),
    ("optional", "optional.of(c).optMap(x, x + 'b').orValue('') == 'ab'"),
];
/// How often it is evaluated for one character. The server's bookkeeping of costs takes time by the square of the length of a
/// loop, so that few long turns are judged in a blink and many short ones in half a minute.
const TIMES: usize = 100;
/// Longest text.
const MOST: usize = 10_000;
/// Longest second text; it costs more than one more character of the first.
const MOST_PADDING: usize = 150_000;

/// A rule about ConfigMaps of one namespace.
fn guarded(name: &str, spec: Value) -> Guarded {
    let namespace = format!("ns-{name}");
    let mut policy = json!({"failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}});
    for (field, value) in spec.as_object().unwrap() {
        policy[field] = value.clone();
    }
    let policy_name = format!("{name}.example.com");
    let binding = json!({"policyName": policy_name, "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}});
    Guarded { bindings: vec![(policy_name.clone(), binding)], name: policy_name, namespace, policy }
}

/// The expression over the whole text, with what the second one costs before it.
fn whole(expression: &str) -> String {
    format!("object.data.pad.contains('~') || object.data.text.split('').all(c, {expression})")
}

/// A dry run of a ConfigMap with texts of these lengths.
fn asked((text, padding): (usize, usize)) -> Asked {
    let data = json!({"text": "a".repeat(text), "pad": "-".repeat(padding), "long": "b".repeat(100_000)});
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data});
    Asked { operation: "CREATE", body, user: "ann", groups: &["admins"] }
}

/// The first length in the range that is refused.
async fn first_refused(lengths: Range<usize>, refused: impl AsyncFn(usize) -> bool) -> usize {
    let (mut passes, mut fails) = (lengths.start, lengths.end);
    while fails - passes > 1 {
        let middle = passes.midpoint(fails);
        if refused(middle).await { fails = middle } else { passes = middle }
    }
    fails
}

/// The first text that is refused, and with one character less the first padding.
async fn limits(refused: impl AsyncFn((usize, usize)) -> bool) -> (usize, usize) {
    let text = first_refused(0..MOST, async |text| refused((text, 0)).await).await;
    (text, first_refused(0..MOST_PADDING, async |padding| refused((text - 1, padding)).await).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_limits_are_met_at_the_same_point_as_in_the_api_server() {
    let one = |expression: &str| json!({"expression": whole(&vec![expression; TIMES].join(" && "))});
    let mut all: Vec<Guarded> = EXPRESSIONS.iter().map(|(name, expression)| guarded(name, json!({"validations": [one(expression)]}))).collect();
    // Eleven that stay below the limit of one call and not below that of all together, and three conditions.
    let dear = whole("!object.data.long.contains(c + '~')");
    all.push(guarded("policy", json!({"validations": vec![json!({"expression": dear}); 11]})));
    let conditions: Vec<Value> = (0..3).map(|at| json!({"name": format!("c{at}"), "expression": dear})).collect();
    all.push(guarded("conditions", json!({"matchConditions": conditions, "validations": [{"expression": "true"}]})));
    // A variable is charged to whoever asks first, and once.
    let twice = json!([{"expression": "variables.v"}, {"expression": "variables.v && !object.data.pad.contains('~')"}]);
    all.push(guarded("variable", json!({"variables": [{"name": "v", "expression": dear}], "validations": twice})));

    let server = Server::start(&all).await;
    server.enforce(&all).await;
    let engine = Engine::new(&all, &server);
    let mut table = String::new();
    let mut differences = Vec::new();
    for rule in &all {
        let asks = async |lengths| server.says(&rule.namespace, &asked(lengths)).await.1;
        let found = limits(async |lengths| asks(lengths).await.refusal.is_some()).await;
        let admitted = server.admitted(&asked(found)).await;
        let judged = |lengths: (usize, usize)| {
            let mut admitted = admitted.clone();
            admitted.object["data"] = asked(lengths).body["data"].clone();
            engine.says(&server, &rule.namespace, &asked(lengths), &admitted)
        };
        let ours = limits(async |lengths| !judged(lengths).passes()).await;
        let line = format!("{:>14}: refused from {:>6} characters on, or with {:>4} of padding; engine {ours:?}\n", rule.name, found.0, found.1);
        eprint!("{line}");
        table.push_str(&line);
        if ours != found {
            differences.push(format!("{}: server {found:?}, engine {ours:?}", rule.name));
        }
        // On both sides of the limit also the words are the same.
        for lengths in [(found.0, 0), (found.0 - 1, 0), (found.0 - 1, found.1), (found.0 - 1, found.1 - 1)] {
            let (said, possible) = (asks(lengths).await, judged(lengths));
            if !possible.covers(&said) {
                differences.push(format!("{} at {lengths:?}\n  server {said:?}\n  engine {possible:?}", rule.name));
            }
        }
        assert!(found.0 < MOST && (1..MOST_PADDING).contains(&found.1), "{}: no limit was met: {found:?}", rule.name);
    }
    assert!(differences.is_empty(), "{}\n{table}", differences.join("\n"));
}
