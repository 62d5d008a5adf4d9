//! A running cluster: how to reach it as anybody, read its audit log, and be sure that it goes away.
//!
//! Starting one without a node is here too. A [`Cluster`] that is dropped kills its processes and removes its directory,
//! unless the thread panics or `ASSENT_KEEP_LOGS` is set: then the logs stay and their place is printed.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

use crate::{
    access::Access,
    binary::binary,
    control_plane::{self, Plan},
    error::{Error, Result},
    kubeconfig,
    pki::Authority,
    process::{Lifetime, Process, Surroundings},
    scratch::Scratch,
};

/// How long an API server may take: seconds on an idle machine, many times that beside a compiler.
pub(crate) const API_READY: Duration = Duration::from_secs(180);

/// Pause between two looks at something that offers no event.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// A running Kubernetes API: etcd, API server, controller manager. It is an [`Access`] as administrator (group
/// `system:masters`); beside the kubeconfig its directory holds `logs/NAME.log` for every server and `audit.log`.
pub struct Cluster {
    pub(crate) scratch: Scratch,
    pub(crate) processes: Vec<Process>,
    pub(crate) authority: Authority,
    access: Access,
}

/// Starts a cluster without a node: API server, etcd and controller manager on free loopback ports, in some seconds.
///
/// Needs no root. Enough for webhooks, RBAC, custom resources and the audit log; pods are accepted and never run. `name`
/// appears in paths only, so any number of clusters of one name can run side by side. The first call ever builds the node
/// program, which takes minutes.
///
/// # Errors
/// When the node program cannot be built, a server ends or does not become ready.
pub async fn api_only(name: &str) -> Result<Cluster> {
    // Ports are chosen before they are bound, so somebody may be faster; one more try with others then.
    let mut attempt = 1;
    loop {
        match start_api_only(name).await {
            Err(Error::Ended { tail, .. }) if attempt < 4 && tail.contains("address already in use") => attempt += 1,
            other => return other,
        }
    }
}

async fn start_api_only(name: &str) -> Result<Cluster> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let unique = format!("{name}-{}-{count}", std::process::id());
    let name = name.to_owned();
    let (scratch, binary) = blocking(move || Ok((Scratch::claim(&name, &unique, false)?, binary()?))).await?;
    let at = Surroundings { dir: scratch.dir.clone(), lifetime: Lifetime::Bound, network: None, cgroup: None };
    let plan = Plan::loopback()?;
    let mut cluster = Cluster::prepare(scratch, binary, &plan)?;
    cluster.start_control_plane(&plan, &at).await?;
    Ok(cluster)
}

// === impl Cluster ===

impl Cluster {
    /// The API server's address, `https://IP:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.scratch.state.url
    }

    /// A kubeconfig for `user` in `groups` (two at most), by a fresh client certificate.
    ///
    /// # Errors
    /// When there are more groups or the certificate cannot be made.
    pub fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> Result<String> {
        let pair = self.authority.issue(user, groups, &[])?;
        Ok(kubeconfig::with_certificate(self.url(), self.authority.certificate(), user, &pair))
    }

    /// A client as `user` in `groups` (two at most), by a fresh client certificate.
    ///
    /// # Errors
    /// As [`Self::kubeconfig_as`] and [`Access::client`].
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<kube::Client> {
        kubeconfig::client(&self.kubeconfig_as(user, groups)?).await
    }

    /// Path of the audit log: one JSON event a line, written before the client has its answer.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        control_plane::audit_log(&self.scratch.dir)
    }

    /// The certificate authority of the API server, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate()
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.scratch.state.name
    }

    /// Writes a new cluster's files into its claimed directory. From here on, dropping it cleans up.
    pub(crate) fn prepare(mut scratch: Scratch, binary: PathBuf, plan: &Plan) -> Result<Self> {
        scratch.state.url = plan.url();
        let prepared = scratch.save().and_then(|()| control_plane::prepare(&scratch.dir, plan));
        match prepared.and_then(|authority| Ok((authority, Access::read(&scratch.dir, binary)?))) {
            Ok((authority, access)) => Ok(Self { scratch, processes: Vec::new(), authority, access }),
            Err(error) => {
                if let Err(left) = scratch.remove(false) {
                    tracing::warn!(error = %left, "could not remove cluster");
                }
                Err(error)
            }
        }
    }

    /// A cluster that was left running.
    pub(crate) fn attach(scratch: Scratch, binary: PathBuf) -> Result<Self> {
        let authority = Authority::read(&scratch.dir.join("pki"), "ca")?;
        let access = Access::read(&scratch.dir, binary)?;
        Ok(Self { scratch, processes: Vec::new(), authority, access })
    }

    /// Starts the control plane and waits until it serves and has made the default namespace's account.
    pub(crate) async fn start_control_plane(&mut self, plan: &Plan, at: &Surroundings) -> Result<()> {
        self.processes.extend(control_plane::start(&self.access.binary, plan, at)?);
        let client = self.client().await?;
        self.wait("the API server", API_READY, async || ready(&client).await).await?;
        self.processes.push(control_plane::start_controllers(&self.access.binary, at)?);
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        self.wait("the controller manager", API_READY, async || matches!(accounts.get_opt("default").await, Ok(Some(_)))).await
    }

    /// Asks `is_so` until it says yes; fails when a server ends meanwhile or after `limit`.
    pub(crate) async fn wait(&mut self, what: &str, limit: Duration, is_so: impl AsyncFn() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        // Bounded poll: readiness is a question to a server that is not there yet.
        while !is_so().await {
            for process in &mut self.processes {
                process.check()?;
            }
            if Instant::now() > deadline {
                let logs = self.scratch.dir.join("logs");
                return Err(Error::NotReady { what: what.to_owned(), seconds: limit.as_secs(), logs });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

impl Deref for Cluster {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("name", &self.name()).field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.scratch.is_owned() {
            return;
        }
        let keep = std::thread::panicking() || std::env::var_os("ASSENT_KEEP_LOGS").is_some_and(|set| !set.is_empty());
        if keep {
            eprintln!("cluster `{}`: logs are kept in {}", self.name(), self.scratch.dir.join("logs").display());
        }
        let removed = self.scratch.remove(keep);
        for process in &mut self.processes {
            process.reap();
        }
        if let Err(error) = removed {
            eprintln!("cluster `{}` was not removed completely: {error}", self.name());
        }
    }
}

pub(crate) async fn ready(client: &kube::Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return false;
    };
    client.request_text(request).await.is_ok_and(|answer| answer == "ok")
}

/// Runs blocking work on the runtime's threads for that.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::Task)?
}
