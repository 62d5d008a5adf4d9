//! `approvals`, `approve`, `deny`: people's word on what Assent asks them. Each answer is an object that its author creates with
//! their own credentials, so `kubectl create` does as well; this only fills it in.

use anyhow::{Context as _, bail};
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{Approval, ApprovalPhase, ApprovalRequest, ApprovalSpec, Verdict};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::connect::ConnectArgs;
use crate::describe::plain;
use crate::output::{Format, bad, bold, dim, good, table};

/// Most groups that an answer names.
const MAX_GROUPS: usize = 16;

/// Flags of `approvals`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent approvals                what waits for an answer
  kubectl assent approvals --all          also what was answered
  kubectl get apr -n assent-system        the same without this plugin")]
pub(crate) struct ApprovalsArgs {
    /// Also those that are over.
    #[arg(long)]
    all: bool,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Flags of `approve` and `deny`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl assent approve apr-1f0c… --comment 'seen the graphs'
  kubectl assent deny apr-1f0c… --comment 'not during the sale'

An answer is an object of its author and never changes:
  kubectl get approvals -n assent-system
Whether it counts is asked anew at each write: by the Blueprint, and by
  kubectl auth can-i approve approvalrequests.assent.dev -n NAMESPACE")]
pub(crate) struct AnswerArgs {
    /// Name of the approval request.
    request: String,
    /// Why, for the others and for the record.
    #[arg(long, default_value = "")]
    comment: String,
}

pub(crate) async fn list(args: &ApprovalsArgs, connect: &ConnectArgs) -> anyhow::Result<()> {
    let api: Api<ApprovalRequest> = Api::namespaced(connect.client().await?, SYSTEM_NAMESPACE);
    let mut requests = api.list(&ListParams::default()).await.context("list approval requests")?.items;
    requests.retain(|request| args.all || !phase(request).is_final());
    requests.sort_by_key(|request| (request.creation_timestamp().map(|time| time.0), request.name_any()));
    if args.output == Format::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&requests).context("print as json")?);
        return Ok(());
    }
    if requests.is_empty() {
        anstream::println!("{}", dim("nothing waits for an answer"));
        return Ok(());
    }
    let row = |request: &ApprovalRequest| {
        let status = request.status.clone().unwrap_or_default();
        let cells = [
            request.name_any(),
            request.spec.action.clone(),
            request.spec.target.clone(),
            format!("{:?}", phase(request)),
            status.until.unwrap_or_default(),
            status.message.unwrap_or_default(),
        ];
        cells.iter().map(|cell| plain(cell)).collect()
    };
    let rows: Vec<Vec<String>> = requests.iter().map(row).collect();
    anstream::print!("{}", table(&["REQUEST", "ACTION", "TARGET", "PHASE", "UNTIL", "MESSAGE"], &rows));
    Ok(())
}

pub(crate) async fn answer(args: &AnswerArgs, verdict: Verdict, connect: &ConnectArgs) -> anyhow::Result<()> {
    let client = connect.client().await?;
    let requests: Api<ApprovalRequest> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let request = requests.get(&args.request).await.with_context(|| format!("read approval request `{}`", args.request))?;
    if phase(&request).is_final() {
        bail!("`{}` is over: {}", args.request, request.status.and_then(|status| status.message).unwrap_or_default());
    }
    let (user, mut groups) = who(client.clone()).await?;
    let asked: Vec<String> = request.spec.approvals.iter().flat_map(|rule| rule.approvers.clone()).collect();
    // Those that are asked first, should there be more than fit.
    groups.sort_by_key(|group| !asked.contains(&format!("group:{group}")));
    groups.truncate(MAX_GROUPS);
    let spec =
        ApprovalSpec { request: args.request.clone(), change: request.spec.change.clone(), verdict, user, groups, comment: args.comment.clone(), slack: None };
    let word = Approval::named(spec).context("name the answer")?;
    let api: Api<Approval> = Api::namespaced(client, SYSTEM_NAMESPACE);
    match api.create(&PostParams::default(), &word).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => bail!("you said so already: approval `{}`", word.name_any()),
        Err(error) => return Err(error).context("the answer was not taken"),
    }
    let verb = match verdict {
        Verdict::Approve => good("approved"),
        Verdict::Deny => bad("denied"),
        Verdict::Comment => bold("commented"),
    };
    anstream::println!("{verb}: {} on {}", plain(&request.spec.action), plain(&request.spec.target));
    Ok(())
}

fn phase(request: &ApprovalRequest) -> ApprovalPhase {
    request.status.as_ref().and_then(|status| status.phase).unwrap_or(ApprovalPhase::Pending)
}

/// Whoever runs this, as the API server authenticates them.
pub(crate) async fn who(client: Client) -> anyhow::Result<(String, Vec<String>)> {
    let review: SelfSubjectReview = serde_json::from_value(json!({"metadata": {}})).context("ask who we are")?;
    let answer = Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &review).await.context("ask the API server who we are")?;
    let user = answer.status.and_then(|status| status.user_info).unwrap_or_default();
    let groups = user.groups.unwrap_or_default().into_iter().filter(|group| group != "system:authenticated").collect();
    Ok((user.username.context("the API server does not say who we are")?, groups))
}
