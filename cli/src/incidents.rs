//! `incidents`: where each incident stands, newest last. The director's public face, not the record; `audit` and `verify` are.

use anyhow::Context as _;
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::Incident;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{Format, dim, table};

/// Phases after which nothing follows.
const OVER: [&str; 4] = ["Resolved", "RolledBack", "Escalated", "Watching"];

/// Flags of `incidents`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent incidents
  kubectl assent incidents --open
  kubectl assent incidents -o json | jq -r '.[].metadata.name'")]
pub(crate) struct IncidentsArgs {
    /// Only those that are not over.
    #[arg(long)]
    open: bool,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) async fn run(args: &IncidentsArgs, connect: &ConnectArgs) -> anyhow::Result<()> {
    let api: Api<Incident> = Api::namespaced(connect.client().await?, SYSTEM_NAMESPACE);
    let mut incidents = api.list(&ListParams::default()).await.context("list incidents")?.items;
    incidents.retain(|incident| !args.open || !OVER.contains(&phase(incident).as_str()));
    incidents.sort_by_key(|incident| (incident.creation_timestamp().map(|time| time.0), incident.name_any()));
    if args.output == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&incidents).context("print as json")?);
        return Ok(());
    }
    if incidents.is_empty() {
        anstream::println!("{}", dim("no incidents"));
        return Ok(());
    }
    let now = jiff::Timestamp::now();
    let rows: Vec<Vec<String>> = incidents.iter().map(|incident| row(incident, now)).collect();
    anstream::print!("{}", table(&["INCIDENT", "AGE", "SERVICE", "SYMPTOM", "PHASE", "CAUSE", "ACTION"], &rows));
    Ok(())
}

fn phase(incident: &Incident) -> String {
    incident.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default()
}

fn row(incident: &Incident, now: jiff::Timestamp) -> Vec<String> {
    let status = incident.status.clone().unwrap_or_default();
    let created = incident.creation_timestamp().and_then(|time| jiff::Timestamp::from_millisecond(time.0.as_millisecond()).ok());
    let cells = [
        incident.name_any(),
        created.map(|at| age(now.duration_since(at).as_secs())).unwrap_or_default(),
        incident.spec.service.clone(),
        incident.spec.symptom.clone(),
        phase(incident),
        status.cause.unwrap_or_default(),
        status.action.unwrap_or_default(),
    ];
    cells.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { plain(cell) }).collect()
}

/// As kubectl writes ages.
fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_are_short() {
        assert_eq!([-4, 119, 120, 7200, 200_000].map(age), ["0s", "119s", "2m", "2h", "2d"]);
    }
}
