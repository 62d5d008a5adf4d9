//! What stores and senders of traces say: answers to range queries, and exports of spans. Whatever the bytes, it is read within
//! bounds or refused.
#![no_main]

#[path = "../../specialists/src/sources/prometheus/answer.rs"]
mod answer;
#[path = "../../specialists/src/sources/otlp/wire.rs"]
mod wire;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(series) = answer::parse(data) {
        assert!(series.len() <= answer::MAX_SERIES);
        for found in series {
            assert!(found.points.len() <= answer::MAX_POINTS && found.pod.len() <= answer::MAX_LABEL && found.deployment.len() <= answer::MAX_LABEL);
            assert!(found.points.iter().all(|(_, value)| value.is_finite()));
            assert!(found.points.windows(2).all(|pair| pair[0].0 < pair[1].0), "times do not rise");
        }
    }
    let mut read = 0_usize;
    let whole = wire::spans(data, |resource, span| {
        read += 1;
        // A span is two bytes at least, so that the body bounds their number.
        assert!(read <= data.len() / 2);
        let words = [resource.namespace, resource.deployment, resource.pod, resource.service, span.name, span.peer];
        assert!(words.iter().all(|word| word.len() <= data.len()));
        let _ = (span.trace, span.id, span.parent, span.is_client, span.start_ns, span.end_ns);
    });
    if let Err(error) = whole {
        assert!(!error.to_string().is_empty());
    }
});
