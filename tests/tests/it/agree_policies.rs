//! Our engine and a real API server, asked about the same requests under the same policies, say the same.

use assent_tests::alike::{self, Engine, Said, Server};
use futures::StreamExt as _;

const POLICIES: u64 = 100;
const REQUESTS: u64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_says_what_the_api_server_says() {
    let guarded = alike::guarded(POLICIES);
    let asked = alike::asked(REQUESTS * 4);
    let server = Server::start(&guarded).await;
    let admitted: Vec<_> = futures::stream::iter(&asked).map(|asked| server.admitted(asked)).buffered(8).collect().await;
    server.enforce(&guarded).await;
    let engine = Engine::new(&guarded, &server);

    // Every policy meets a quarter of the requests, every request a quarter of the policies.
    let pairs: Vec<_> = guarded.iter().zip(0..).flat_map(|(one, at)| (0..asked.len()).skip(at % 4).step_by(4).map(move |which| (one, which))).collect();
    assert!(pairs.len() >= 2000, "{} pairs", pairs.len());
    let said: Vec<(String, Said)> = futures::stream::iter(&pairs).map(|(one, which)| server.says(&one.namespace, &asked[*which])).buffered(16).collect().await;
    let mut annotations = server.annotations();

    let (mut refused, mut warned, mut annotated) = (0, 0, 0);
    let mut differences = Vec::new();
    for ((one, which), (id, said)) in pairs.iter().zip(said) {
        let said = Said { annotations: annotations.remove(&id).unwrap_or_else(|| panic!("{id} is not in the audit log")), ..said };
        refused += usize::from(said.refusal.is_some());
        warned += usize::from(!said.warnings.is_empty());
        annotated += usize::from(!said.annotations.is_empty());
        let ours = engine.says(&server, &one.namespace, &asked[*which], &admitted[*which]);
        if !ours.covers(&said) {
            differences.push(format!("{} {}\n  server {said:?}\n  engine {ours:?}", one.policy, asked[*which].body));
        }
    }
    let seen = format!("of {} pairs {refused} are refused, {warned} warned of, {annotated} annotated", pairs.len());
    assert!(refused > 300 && warned > 100 && annotated > 200, "too little happens to compare: {seen}");
    assert!(differences.is_empty(), "{seen}; {} differ:\n{}", differences.len(), differences.join("\n"));
}
