//! A store of logs: the newest lines of a namespace before and after an onset, counted as they are read.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::miner::Miner;
use crate::sources::names::Names;
use assent_runtime::store::{Error, Store};

const MAX_ANSWER: usize = 4 << 20;
/// Lines of one question.
const LINES: &str = "1000";

/// Asks for the lines from `start` to `end`, in seconds, and counts them.
pub(super) async fn read(store: &Store, names: &Names, (start, end): (i64, i64), miner: &mut Miner) -> Result<(), Error> {
    let query = format!(r#"{{namespace="{}"}}"#, names.namespace());
    let (start, end) = (format!("{start}000000000"), format!("{end}000000000"));
    let question = [("query", query.as_str()), ("start", &start), ("end", &end), ("limit", LINES), ("direction", "backward")];
    let body = store.get("loki/api/v1/query_range", &question, MAX_ANSWER).await?;
    count(&body, names, miner).map_err(Error::Answer)
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, rename = "resultType")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    result: Vec<Stream<'a>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow)]
    stream: Labels<'a>,
    #[serde(borrow)]
    values: Vec<Line<'a>>,
}

#[derive(Deserialize)]
struct Labels<'a> {
    #[serde(borrow, default)]
    pod: Cow<'a, str>,
}

/// Nanoseconds, text, and what else a store knows of a line.
#[derive(Deserialize)]
struct Line<'a>(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>, #[serde(default)] Option<IgnoredAny>);

/// Counts the lines of an answer. What the answer is bounded by bounds what is held of it, which is not kept.
fn count(body: &[u8], names: &Names, miner: &mut Miner) -> Result<(), String> {
    // Without the place, which may quote a line.
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| format!("{:?} error", error.classify()))?;
    if answer.status != "success" || answer.data.kind != "streams" {
        return Err("it holds no lines".into());
    }
    for Stream { stream, values } in answer.data.result {
        let Some(workload) = names.pod(&stream.pod) else { continue };
        for Line(time, text, None | Some(IgnoredAny)) in values {
            if let Ok(nanoseconds) = time.parse::<i64>() {
                miner.add(workload, nanoseconds.div_euclid(1_000_000_000), &text);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_counted_by_workload() {
        let lines = json!([["1700000000000000000", "error one"], ["1700000001000000000", "error two", {"structuredMetadata": {"a": "b"}}], ["x", "error"]]);
        let answer = json!({"status": "success", "data": {"resultType": "streams", "stats": {}, "result": [
            {"stream": {"pod": "orders-0", "level": "error"}, "values": lines}, {"stream": {"pod": "stranger"}, "values": lines}, {"stream": {}, "values": lines}]}});
        let mut miner = Miner::default();
        count(answer.to_string().as_bytes(), &Names::testing(&["orders"], &[]), &mut miner).unwrap();
        let series = miner.series();
        assert!(series.iter().all(|series| series.service == "orders"));
        assert_eq!(series[0].points, [(1_699_999_980, 2.0)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_counted_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1_000)) {
            let _ = count(&bytes, &Names::testing(&["orders"], &[]), &mut Miner::default());
        }
    }
}
