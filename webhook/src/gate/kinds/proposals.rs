//! Operations that somebody proposes: any name, by anybody who may create the object, person or program. It is answered in the
//! same breath, as warnings, and stays until it is on record.

use assent_api::resources::{OperationProposal, OperationProposalStatus};
use assent_core::refusal::{Refusal, Rule};
use assent_core::target::is_system_namespace;
use assent_live::Live;

use super::record::immutable;
use super::{Passed, parse};
use crate::review::Request;

pub(super) async fn proposal(live: &Live, request: &Request) -> Result<Passed, Refusal> {
    match request.operation.as_str() {
        "CREATE" => {}
        "DELETE" => return deletion(request),
        _ => return immutable(request).map(Passed::from),
    }
    let proposed: OperationProposal = parse(&request.object)?;
    let user = &request.user_info.username;
    if proposed.spec.user != *user {
        let reason = format!("it speaks for `{}` and was created by `{user}`", proposed.spec.user);
        return Err(Refusal::new(Rule::Account, reason, format!("`spec.user: {user}`")));
    }
    if is_system_namespace(&request.namespace) {
        let reason = format!("namespace `{}` is never a target", request.namespace);
        return Err(Refusal::new(Rule::ForbiddenTarget, reason, "a proposal beside its workload"));
    }
    let said = live.proposed(&proposed.spec, &request.namespace).await?;
    let rule = if said.alert { Rule::Forbidden } else { Rule::Blueprint };
    let answer = OperationProposalStatus::of(&said, "").line();
    Ok(Passed { warnings: vec![format!("assent[{}]: {} is {answer}", rule.code(), said.operation)], ..Passed::from("operation-proposal") })
}

/// It goes once it is on record.
fn deletion(request: &Request) -> Result<Passed, Refusal> {
    let old: OperationProposal = parse(&request.old_object)?;
    if old.status.is_none() {
        return Err(Refusal::new(Rule::Immutable, "it is not on record yet", "deleting it once `status.incident` says where it is on record"));
    }
    Ok("operation-proposal-answered".into())
}
