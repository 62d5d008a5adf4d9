//! Obtaining and renewing the workload certificate: at a jittered half to 70 % of its life, with a
//! fresh key, retried with capped backoff while the old certificate keeps serving; at once when the
//! trust bundle no longer vouches for it, and soon when the bundle changes and names another root
//! first, which is the one that certificates come from now. It never extends or trusts an expired certificate.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use linkerd2_proxy_api::identity::CertifyRequest;
use linkerd2_proxy_api::identity::identity_client::IdentityClient;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;

use super::{Certified, Error, Name, Roots, Usage, Workload, WorkloadArgs, certified};
use crate::backoff::fraction;
use crate::{mtls, reload, telemetry};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
// Longest time until a certificate is replaced because others come from another root now.
const FOLLOW_ROOT: Duration = Duration::from_secs(60);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
// The wall clock may jump and a suspended machine's timers do not; look at it again this often.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// The task that keeps a [`Workload`] certified.
#[must_use = "without running it there is never a certificate"]
pub struct Renewal {
    certifier: Certifier,
    follow_trust: Pin<Box<dyn Future<Output = ()> + Send>>,
}

struct Certifier {
    workload: Workload,
    sender: watch::Sender<Option<Arc<Certified>>>,
    identity_service: String,
    identity: Name,
    token_file: PathBuf,
    state_dir: Option<PathBuf>,
}

/// When to renew: between 50 % and 70 % of the validity, by `fraction` in 0..1.
pub fn renew_at(not_before: SystemTime, not_after: SystemTime, fraction: f64) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    not_before + life.mul_f64(0.5 + 0.2 * fraction.clamp(0.0, 1.0))
}

/// How long after the roots changed to renew under the new ones: between half and all of a minute or, if that is shorter, of
/// a tenth of `life`, so that the workloads do not come all at once.
fn follow_after(life: Duration, fraction: f64) -> Duration {
    (life / 10).min(FOLLOW_ROOT).mul_f64(0.5 + 0.5 * fraction.clamp(0.0, 1.0))
}

// === impl Renewal ===

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("name", &self.certifier.workload.own_name()).finish_non_exhaustive()
    }
}

impl Renewal {
    pub(super) fn new(
        args: &WorkloadArgs,
        workload: Workload,
        sender: watch::Sender<Option<Arc<Certified>>>,
        identity: Name,
        follow_trust: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Result<Self, Error> {
        // Refuses an unusable address at start rather than at every attempt.
        mtls::anonymous_channel(&workload, &args.identity_service, &identity)?;
        let certifier = Certifier {
            workload,
            sender,
            identity_service: args.identity_service.clone(),
            identity,
            token_file: args.identity_token_file.clone(),
            state_dir: args.identity_state_dir.clone(),
        };
        Ok(Self { certifier, follow_trust })
    }

    /// Runs for the life of the process.
    pub async fn run(self) {
        let Self { certifier, follow_trust } = self;
        certifier.load_kept();
        tokio::select! {
            never = certifier.renew() => match never {},
            // Ends only when nobody holds the bundle any more, that is, never while we do.
            () = follow_trust => {}
        }
    }
}

// === impl Certifier ===

impl Certifier {
    async fn renew(&self) -> std::convert::Infallible {
        let mut retry = FIRST_RETRY;
        // The roots that the current certificate was obtained under; a kept one's are not known.
        let mut under = Arc::new(Roots::default());
        loop {
            self.until_due(&under).await;
            let current = self.workload.trust().current();
            match self.certify().await {
                Ok(certified) => {
                    (retry, under) = (FIRST_RETRY, current);
                    tracing::info!(identity = %certified.name(), expires_in = ?left(&certified), "certified");
                    self.keep(&certified);
                    self.sender.send_replace(Some(Arc::new(certified)));
                }
                Err(error) => {
                    let wait = retry.mul_f64(0.5 + 0.5 * fraction());
                    tracing::warn!(error = telemetry::chain(&error), retry_in = ?wait, "not certified; keeping what we have");
                    // Backoff, shortened when a changed trust bundle may have removed the cause.
                    let mut trust = self.workload.trust().watch();
                    let _ = tokio::time::timeout(wait, trust.changed()).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// Returns when a certificate is missing, due, no longer vouched for, or of a root that is not first any more among roots
    /// that changed since `under`.
    async fn until_due(&self, under: &Arc<Roots>) {
        let mut trust = self.workload.trust().watch();
        let Some(certified) = self.sender.borrow().clone() else {
            return;
        };
        // Not at once, even for a certificate that arrives half expired: that would be a busy loop.
        let mut due = renew_at(certified.not_before(), certified.not_after(), fraction()).max(SystemTime::now() + FIRST_RETRY);
        let mut seen = under.clone();
        loop {
            let roots = self.workload.trust().current();
            if !Arc::ptr_eq(&roots, &seen) {
                if !of_first(&roots, &certified) {
                    let life = certified.not_after().duration_since(certified.not_before()).unwrap_or_default();
                    due = due.min(SystemTime::now() + follow_after(life, fraction()));
                }
                seen = roots;
            }
            let left = due.duration_since(SystemTime::now()).unwrap_or_default();
            if left.is_zero() || !self.vouched(&certified) {
                return;
            }
            let _ = tokio::time::timeout(left.min(CLOCK_CHECK), trust.changed()).await;
        }
    }

    fn vouched(&self, certified: &Certified) -> bool {
        let Some((leaf, intermediates)) = certified.chain().split_first() else {
            return false;
        };
        self.workload.trust().current().verify(leaf, intermediates, Usage::Client, UnixTime::now()).is_ok()
    }

    async fn certify(&self) -> Result<Certified, Error> {
        let token = self.token()?;
        let name = self.workload.own_name().clone();
        let (key, request) = certified::request(&name)?;
        let mut call = tonic::Request::new(CertifyRequest { identity: name.to_string(), token, certificate_signing_request: request });
        call.set_timeout(CALL_TIMEOUT);
        // A channel per call: an idle connection per workload would cost the service more.
        let channel = mtls::anonymous_channel(&self.workload, &self.identity_service, &self.identity)?;
        let mut client = IdentityClient::new(channel);
        let answer = tokio::time::timeout(CALL_TIMEOUT, client.certify(call))
            .await
            .map_err(|_| Error::Certify(Box::new(tonic::Status::deadline_exceeded("no answer in time"))))?
            .map_err(|status| Error::Certify(Box::new(status)))?
            .into_inner();
        let chain = std::iter::once(answer.leaf_certificate).chain(answer.intermediate_certificates).map(CertificateDer::from).collect();
        let certified = Certified::new(key, chain)?;
        if *certified.name() != name {
            return Err(Error::Peer { expected: name, found: certified.name().clone() });
        }
        if !self.vouched(&certified) {
            return Err(Error::Answer { reason: "the trust bundle does not vouch for it" });
        }
        Ok(certified)
    }

    fn token(&self) -> Result<Vec<u8>, Error> {
        let wrap = |source| Error::Token { path: self.token_file.clone(), source };
        let files = reload::read(std::slice::from_ref(&self.token_file)).map_err(wrap)?;
        let token = files.into_iter().next().unwrap_or_default().trim_ascii().to_vec();
        if token.is_empty() {
            return Err(wrap(std::io::Error::other("it is empty")));
        }
        Ok(token)
    }

    fn load_kept(&self) {
        let Some(directory) = &self.state_dir else {
            return;
        };
        match Certified::load(directory) {
            Ok(Some(kept)) if kept.name() == self.workload.own_name() && self.vouched(&kept) => {
                tracing::info!(identity = %kept.name(), expires_in = ?left(&kept), "serving the kept certificate");
                self.sender.send_replace(Some(Arc::new(kept)));
            }
            Ok(Some(_)) => tracing::info!("the kept certificate is not usable any more"),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = telemetry::chain(&error), "the kept certificate cannot be read"),
        }
    }

    fn keep(&self, certified: &Certified) {
        let Some(directory) = &self.state_dir else {
            return;
        };
        if let Err(error) = certified.store(directory) {
            tracing::warn!(error = telemetry::chain(&error), "the certificate cannot be kept over a restart");
        }
    }
}

fn of_first(roots: &Roots, certified: &Certified) -> bool {
    let (Some(leaf), intermediates) = (certified.chain().first(), certified.chain().get(1..).unwrap_or_default()) else {
        return false;
    };
    roots.first_vouches(leaf, intermediates, UnixTime::now())
}

fn left(certified: &Certified) -> Duration {
    let left = certified.not_after().duration_since(SystemTime::now());
    Duration::from_secs(left.unwrap_or_default().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::testing::Authority;

    #[test]
    fn a_certificate_is_of_the_first_root_or_not() {
        let (ours, other) = (Authority::new(), Authority::new());
        let certified = ours.certify(ours.workload("shop", "cart").own_name(), Duration::from_secs(60));
        let roots = |authorities: &[&Authority]| Roots::parse(authorities.iter().map(|one| one.pem()).collect::<String>().as_bytes()).unwrap();
        assert!(of_first(&roots(&[&ours, &other]), &certified));
        assert!(!of_first(&roots(&[&other, &ours]), &certified));
        assert!(!of_first(&Roots::default(), &certified));
    }

    #[test]
    fn a_changed_root_is_followed_within_a_minute_or_a_tenth_of_a_short_life() {
        let seconds = Duration::from_secs;
        let cases = [(86_400, 0.0, 30), (86_400, 1.0, 60), (86_400, 9.0, 60), (100, 0.0, 5), (100, 1.0, 10), (0, 0.5, 0)];
        for (life, fraction, after) in cases {
            assert_eq!(follow_after(seconds(life), fraction), seconds(after), "{life} {fraction}");
        }
    }
}
