//! Follows the policy of one port: asks the controller, passes on what it says, and asks again when it falls silent.
//!
//! A stream that ends is opened again after a while, one that never answers is given up, and one that has lasted long is
//! replaced, whatever it looks like. What was said stays meanwhile.

use std::sync::Weak;
use std::time::Duration;

use assent_runtime::backoff::Backoff;
use linkerd2_proxy_api::inbound::PortSpec;
use linkerd2_proxy_api::inbound::inbound_server_policies_client::InboundServerPoliciesClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Policies;
use crate::control;

/// How long each kind of silence is borne.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until the first answer of a stream.
    answer: Duration,
    /// Life of a stream that works, at most.
    lifetime: Duration,
    /// Before asking again where there is no such service.
    unsupported: Duration,
}

/// The watch over one port.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) client: InboundServerPoliciesClient<Channel>,
    pub(super) workload: String,
    pub(super) port: u16,
    pub(super) policies: Weak<Policies>,
    pub(super) patience: Patience,
}

// === impl Patience ===

impl Default for Patience {
    fn default() -> Self {
        Self { answer: control::ANSWER, lifetime: control::LIFETIME, unsupported: Duration::from_secs(60) }
    }
}

// === impl Watch ===

impl Watch {
    /// Passes on what the controller says for as long as somebody wants to know.
    pub(super) async fn follow(self) {
        let mut backoff = control::backoff();
        loop {
            let lifetime = control::spread(self.patience.lifetime);
            let ended = tokio::time::timeout(lifetime, self.stream(&mut backoff)).await;
            let Some(policies) = self.policies.upgrade() else { return };
            policies.lost(self.port);
            // One that has lived its time is replaced at once.
            let Ok(ended) = ended else { continue };
            let code = ended.as_ref().map_or_else(Status::code, |()| Code::Ok);
            match &ended {
                // Asking again will not help unless somebody does something.
                Err(status) if code == Code::PermissionDenied => {
                    tracing::warn!(port = self.port, reason = status.message(), "the controller refuses to tell who may connect")
                }
                _ => tracing::debug!(port = self.port, ?code, "the watch over a policy ended"),
            }
            if code == Code::Unimplemented {
                policies.unsupported();
                drop(policies);
                tokio::time::sleep(control::spread(self.patience.unsupported)).await;
            } else {
                drop(policies);
                backoff.wait().await;
            }
        }
    }

    async fn stream(&self, backoff: &mut Backoff) -> Result<(), Status> {
        let mut client = self.client.clone();
        let asked = PortSpec { workload: self.workload.clone(), port: u32::from(self.port) };
        let mut answers = self.answered(client.watch_port(asked)).await?.into_inner();
        let mut said = self.answered(answers.message()).await?;
        while let (Some(server), Some(policies)) = (said, self.policies.upgrade()) {
            backoff.reset();
            policies.told(self.port, server);
            drop(policies);
            said = answers.message().await?;
        }
        Ok(())
    }

    async fn answered<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        control::answered(self.patience.answer, call).await
    }
}
