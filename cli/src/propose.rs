//! `propose`: something that should be done to a service, by any name. It is an object of its author; the gate answers at once, the
//! director puts it on record, and nothing is carried out.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use assent_api::resources::{OperationProposal, OperationProposalSpec, OperationProposalStatus};
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};

use crate::approve::who;
use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{Format, bad, bold, dim, good, warn};

/// How long the answer may take; it comes within a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Flags of `propose`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent propose ScaleWorkload orders -n shop --replicas 6 --reason 'the sale begins'
  kubectl assent propose delete_deployment orders -n shop
  kubectl get prop -n shop                the same without this plugin, and what others proposed

Proposing does nothing: it is classified by the Blueprint, answered, and put on record. What is forbidden is
told to whoever watches over security. The exit code is 0 when it is allowed, 2 when people would have to
agree, and 3 when it is forbidden.")]
pub(crate) struct ProposeArgs {
    /// Any name; what nobody knows is answered too.
    operation: String,
    /// Name of the workload.
    service: String,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Its kind.
    #[arg(long, default_value = "Deployment")]
    kind: String,
    /// Replicas that a scale would come to.
    #[arg(long)]
    replicas: Option<u32>,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    reason: String,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) async fn run(args: &ProposeArgs, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let client = connect.client().await?;
    let (user, _) = who(client.clone()).await?;
    let spec = OperationProposalSpec {
        operation: args.operation.clone(),
        kind: args.kind.clone(),
        service: args.service.clone(),
        replicas: args.replicas,
        reason: args.reason.clone(),
        user,
    };
    let mut proposal = OperationProposal::new("", spec);
    proposal.metadata.name = None;
    proposal.metadata.generate_name = Some("prop-".into());
    let api: Api<OperationProposal> = Api::namespaced(client, &args.namespace);
    let name = api.create(&PostParams::default(), &proposal).await.context("the proposal was not taken")?.name_any();
    let answered = await_condition(api, &name, |seen: Option<&OperationProposal>| seen.is_none_or(|seen| seen.status.is_some()));
    let Ok(answered) = tokio::time::timeout(PATIENCE, answered).await else {
        bail!("proposal `{name}` is stored and not answered yet: is the director running? `kubectl get prop {name} -n {}`", args.namespace);
    };
    let status = answered.context("wait for the answer")?.and_then(|seen| seen.status);
    let status = status.with_context(|| format!("proposal `{name}` was deleted before it was answered"))?;
    if args.output == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&status).context("print as json")?);
    } else {
        anstream::print!("{}", told(&args.operation, &status));
    }
    Ok(match status.tier.as_str() {
        "allowed" => ExitCode::SUCCESS,
        "restricted" => ExitCode::from(2),
        _ => ExitCode::from(3),
    })
}

fn told(operation: &str, status: &OperationProposalStatus) -> String {
    let tier = match status.tier.as_str() {
        "allowed" => good("allowed"),
        "restricted" => warn("restricted"),
        other => bad(&plain(other)),
    };
    let mut text = format!("{}: {tier}\n", bold(&plain(operation)));
    let mut line = |words: String| text.extend(["  ", &plain(&words), "\n"]);
    let reasons = if status.reasons.is_empty() { std::slice::from_ref(&status.message) } else { &status.reasons };
    reasons.iter().filter(|reason| !reason.is_empty()).for_each(|reason| line(reason.clone()));
    status.approvals.iter().for_each(|approval| line(format!("needs: {approval}")));
    status.alternatives.iter().for_each(|one| line(format!("instead: {} ({}), {}", one.name, one.operation, one.how)));
    if status.executable {
        line("it is done when the seats vote for it in an incident; proposing it does nothing".into());
    }
    if status.alert {
        line("whoever watches over security is told".into());
    }
    text.push_str(&dim(&format!("  on record: kubectl assent audit {}", plain(&status.incident))));
    text.push('\n');
    text
}
