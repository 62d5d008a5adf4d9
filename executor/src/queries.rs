//! A Blueprint's own queries: each must come to one number. What does not, in time and within bounds, was not measured.

use std::path::PathBuf;
use std::time::Duration;

use assent_core::blueprint::Check;
use assent_core::target::Target;
use assent_runtime::store::Store;
use assent_runtime::telemetry::chain;
use serde::Deserialize;

/// Largest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most queries of one look.
const MOST: usize = 16;

/// Where a Blueprint's queries are asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PrometheusArgs {
    /// Address of Prometheus, or of what answers queries like it. Without one, a Blueprint's queries are not measured.
    #[arg(long, env = "ASSENT_PROMETHEUS_URL")]
    pub prometheus_url: Option<String>,
    /// Bearer token that it is shown; read again for every question.
    #[arg(long, env = "ASSENT_PROMETHEUS_TOKEN_FILE", requires = "prometheus_url")]
    pub prometheus_token_file: Option<PathBuf>,
    /// PEM of the CA that signs its certificate, instead of the public ones.
    #[arg(long, env = "ASSENT_PROMETHEUS_CA_FILE", requires = "prometheus_url")]
    pub prometheus_ca_file: Option<PathBuf>,
}

/// Asks queries.
#[derive(Debug)]
pub(crate) struct Queries {
    store: Option<Store>,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar((f64, String)),
    Vector(Vec<Sample>),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Sample {
    value: (f64, String),
}

// === impl Queries ===

impl Queries {
    pub(crate) fn new(args: &PrometheusArgs) -> anyhow::Result<Self> {
        let store = |url| Store::new(url, args.prometheus_token_file.as_deref(), args.prometheus_ca_file.as_deref());
        Ok(Self { store: args.prometheus_url.as_deref().map(store).transpose()? })
    }

    /// The numbers that the checks' queries come to, in millionths, by the query; `$namespace` and `$workload` in them are the target's.
    pub(crate) async fn ask(&self, checks: &[&Check], target: &Target) -> Vec<(String, u64)> {
        let Some(store) = &self.store else { return Vec::new() };
        let asked = checks.iter().filter_map(|check| Some((check, check.query.as_deref()?))).take(MOST).map(|(check, query)| async move {
            let filled = query.replace("$namespace", &target.namespace).replace("$workload", &target.name);
            let question = [("query", filled.as_str()), ("timeout", "2s")];
            let answer = tokio::time::timeout(PATIENCE, store.get("api/v1/query", &question, MAX_ANSWER)).await;
            let number = match answer {
                Ok(Ok(body)) => number(&body),
                Ok(Err(error)) => Err(chain(&error)),
                Err(_) => Err("no answer in time".to_owned()),
            };
            number.map_err(|reason| tracing::debug!(check = check.name, reason, "the query was not measured")).ok().map(|number| (query.to_owned(), number))
        });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

/// The one number of an answer, in millionths.
fn number(body: &[u8]) -> Result<u64, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let text = match answer.data {
        _ if answer.status != "success" => return Err("it is no success".into()),
        Some(Data::Scalar((_, text))) => text,
        Some(Data::Vector(samples)) => match <[Sample; 1]>::try_from(samples) {
            Ok([sample]) => sample.value.1,
            Err(samples) => return Err(format!("it comes to {} numbers and not to one", samples.len())),
        },
        Some(Data::Other) | None => return Err("it is no number".into()),
    };
    millionths(&text).ok_or_else(|| format!("`{text:.40}` is no number from 0 on"))
}

fn millionths(text: &str) -> Option<u64> {
    let number: f64 = text.parse().ok()?;
    let scaled = number * 1e6;
    // Below 2^63 every whole number has a place, and what is no number is not below.
    (0.0..9e18).contains(&scaled).then(|| scaled.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_one_number() {
        let vector = |samples: &str| format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{samples}]}}}}"#);
        let sample = |value: &str| format!(r#"{{"metric":{{"a":"b"}},"value":[1.5,"{value}"]}}"#);
        assert_eq!(number(vector(&sample("1.5")).as_bytes()), Ok(1_500_000));
        assert_eq!(number(br#"{"status":"success","data":{"resultType":"scalar","result":[1,"0.000001"]}}"#), Ok(1));
        for bad in ["NaN", "-1", "+Inf", "1e300", "x", ""] {
            assert!(number(vector(&sample(bad)).as_bytes()).is_err(), "{bad}");
        }
        assert!(number(vector("").as_bytes()).is_err());
        assert!(number(vector(&format!("{},{}", sample("1"), sample("1"))).as_bytes()).unwrap_err().contains("2 numbers"));
        assert!(number(br#"{"status":"error","error":"x"}"#).is_err());
        assert!(number(br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_it_answers_there_is_no_panic(body: Vec<u8>, value in ".{0,40}") {
            let _ = number(&body);
            let _ = number(format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}"#).as_bytes());
        }
    }
}
