//! Taking servers of a running cluster away and giving them back, for tests of whoever depends on them. A server is named as
//! its log is: `etcd`, `kube-apiserver`, `kube-controller-manager`.

use nix::sys::signal::Signal;

use crate::{
    cluster::{API_READY, Cluster, ready},
    error::{Error, Result},
    process::Process,
};

impl Cluster {
    /// Kills a server (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn kill(&mut self, server: &str) -> Result<()> {
        let process = self.server(server)?;
        process.signal(Signal::SIGKILL)?;
        process.reap();
        Ok(())
    }

    /// Starts a server that was killed, as it was before, and waits until the API server answers.
    ///
    /// # Errors
    /// When there is none of that name, or it does not become ready.
    pub async fn start_again(&mut self, server: &str) -> Result<()> {
        self.server(server)?.start_again()?;
        let client = self.client().await?;
        self.wait("the API server", API_READY, async || ready(&client).await).await
    }

    /// Lets a server do nothing (SIGSTOP) until [`Self::resume`]: it answers nobody, and its connections stay.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn pause(&mut self, server: &str) -> Result<()> {
        self.server(server)?.signal(Signal::SIGSTOP)
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn resume(&mut self, server: &str) -> Result<()> {
        self.server(server)?.signal(Signal::SIGCONT)
    }

    fn server(&mut self, name: &str) -> Result<&mut Process> {
        let found = self.processes.iter_mut().find(|process| process.name() == name);
        found.ok_or_else(|| Error::NoServer { name: name.to_owned() })
    }
}
