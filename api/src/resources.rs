//! The custom resources of `assent.dev`, one file per kind. The definitions in `manifests/` are generated from these types.

mod approval;
mod approval_request;
mod ballot;
mod blueprint;
mod blueprint_revision;
mod circuit_breaker;
mod cluster_blueprint;
mod condition;
mod decision;
mod exemption;
mod freeze;
mod guardrail;
mod guardrail_binding;
mod guardrail_status;
mod incident;
mod operation_proposal;
mod pause;
mod remediation;
mod roster;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use approval::{Approval, ApprovalSpec, Pressed, Verdict};
pub use approval_request::{ApprovalPhase, ApprovalRequest, ApprovalRequestSpec, ApprovalRequestStatus, ApprovalRule};
pub use ballot::{Ballot, BallotSpec};
pub use blueprint::{
    ActionLimits, Blueprint, BlueprintSpec, BlueprintStatus, BoundsSpec, BreakerSpec, CanarySpec, CheckSpec, ContainerBoundsSpec, FreezeSpec, GitOpsSpec,
    HysteresisSpec, LatencySpec, Limits, ObjectivesSpec, OperationsSpec, RestrictionSpec, RollbackSpec, SafetySpec, SaturationSpec, ScalingSpec, ShareSpec,
    TargetReference, TuningSpec, VerificationSpec, WeightsSpec, WindowSpec,
};
pub use blueprint_revision::{BlueprintRevision, BlueprintRevisionSpec, KEPT_REVISIONS};
pub use circuit_breaker::{
    BrakeSpec, CLUSTER as CLUSTER_BREAKER, CircuitBreaker, CircuitBreakerSpec, CircuitBreakerStatus, Lifted, Promoted, PromotedTo, entered_with,
    name as breaker_name,
};
pub use cluster_blueprint::{ClusterBlueprint, ClusterBlueprintSpec};
pub use condition::Condition;
pub use decision::{Decision, DecisionSpec, name as decision_name};
pub use exemption::{ExemptTarget, GuardrailExemption, GuardrailExemptionSpec, MAX_EXEMPTION_MS};
pub use freeze::{FreezeWindow, FreezeWindowSpec};
pub use guardrail::{Guardrail, GuardrailSpec};
pub use guardrail_binding::{GuardrailBinding, GuardrailBindingSpec};
pub use guardrail_status::{ExpressionWarning, GuardrailBindingStatus, GuardrailStatus, TypeChecking};
pub use incident::{Incident, IncidentSpec, IncidentStatus};
pub use operation_proposal::{AlternativeSpec, OperationProposal, OperationProposalSpec, OperationProposalStatus};
pub use pause::{Pause, PauseSpec};
pub use remediation::{Remediation, RemediationPhase, RemediationResult, RemediationSpec, RemediationStatus};
pub use roster::{CheckpointSpec, HeadSpec, Roster, RosterSpec, SeatSpec, TallySpec, WeightSpec};

/// Every definition, in the order of the table in the documentation.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        Blueprint::crd(),
        ClusterBlueprint::crd(),
        BlueprintRevision::crd(),
        Incident::crd(),
        Ballot::crd(),
        Decision::crd(),
        Remediation::crd(),
        ApprovalRequest::crd(),
        Approval::crd(),
        CircuitBreaker::crd(),
        OperationProposal::crd(),
        Roster::crd(),
        Pause::crd(),
        guardrail::definition(),
        guardrail_binding::definition(),
        GuardrailExemption::crd(),
        FreezeWindow::crd(),
    ]
}
