//! How one cluster is reached: a kubeconfig in a private file, and kubectl and clients that read nothing else.
//!
//! The same for a cluster of this crate and for one that somebody else runs: [`Access::flatten`] takes from a kubeconfig
//! what reaches its current context, [`Access::create`] keeps that. Neither `$KUBECONFIG` nor `~/.kube` is ever read.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use crate::{
    binary::binary,
    cluster::blocking,
    error::{Error, Result},
    kubeconfig, pki,
};

/// File of the kubeconfig in its directory.
const FILE: &str = "kubeconfig";

/// A cluster, and as whom to be there.
#[derive(Clone)]
pub struct Access {
    pub(crate) binary: PathBuf,
    dir: PathBuf,
    text: String,
    parsed: Value,
}

// === impl Access ===

impl Access {
    /// The current context of the kubeconfig `file` as a kubeconfig of its own, in JSON: no other context, and certificates
    /// and keys inline. No cluster is asked.
    ///
    /// # Errors
    /// When the file cannot be read, has no current context, or names files that are not there.
    pub async fn flatten(file: &Path) -> Result<String> {
        let (binary, folder) = blocking(|| Ok((binary()?, tempfile::tempdir().map_err(Error::file("create a folder in", std::env::temp_dir()))?))).await?;
        let home = Some(folder.path());
        let text = kubectl(&binary, file, folder.path(), home, &["config", "view", "--raw", "--minify", "--flatten", "--output=json"]).await?;
        let mut config: Value = serde_json::from_str(&text).map_err(|error| Error::Kubeconfig(Box::new(error)))?;
        // What is run or read again each time stays where it is, named so that the copy finds it.
        let beside = std::path::absolute(file).map_err(Error::file("find", file))?;
        for (pointer, always) in [("/users/0/user/exec/command", false), ("/users/0/user/tokenFile", true)] {
            if let Some(Value::String(path)) = config.pointer_mut(pointer)
                && (always || path.contains('/'))
            {
                *path = beside.with_file_name(&*path).display().to_string();
            }
        }
        Ok(config.to_string())
    }

    /// Keeps `kubeconfig` (JSON) in `dir`, which is made: both for this user alone.
    ///
    /// # Errors
    /// When it is no JSON, or the file cannot be written.
    pub async fn create(dir: &Path, kubeconfig: &str) -> Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::file("create", dir))?;
        pki::write_private(&dir.join(FILE), kubeconfig)?;
        Self::read(dir, blocking(binary).await?)
    }

    /// What was kept in `dir`.
    pub(crate) fn read(dir: &Path, binary: PathBuf) -> Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).map_err(Error::file("read", path))?;
        let parsed = serde_json::from_str(&text).map_err(|error| Error::Kubeconfig(Box::new(error)))?;
        Ok(Self { binary, dir: dir.to_owned(), text, parsed })
    }

    /// The directory that the kubeconfig is in. The user's own, mode 0700.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of the kubeconfig.
    #[must_use]
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// The kubeconfig, with everything inline.
    #[must_use]
    pub fn kubeconfig(&self) -> &str {
        &self.text
    }

    /// A kubeconfig for whoever `token` belongs to, on the same cluster.
    #[must_use]
    pub fn kubeconfig_with_token(&self, token: &str) -> String {
        kubeconfig::with_token(&self.parsed, token)
    }

    /// A client. It lives on the calling tokio runtime: make one per test.
    ///
    /// # Errors
    /// When the kubeconfig makes no client.
    pub async fn client(&self) -> Result<kube::Client> {
        kubeconfig::client(&self.text).await
    }

    /// A client as whoever `token` belongs to.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub async fn client_with_token(&self, token: &str) -> Result<kube::Client> {
        kubeconfig::client(&self.kubeconfig_with_token(token)).await
    }

    /// Runs kubectl (of the version of this crate's servers); what it wrote to its output.
    ///
    /// # Errors
    /// When it fails, with what it wrote to its error output.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        // A credential plugin has its own files in the user's home; kubectl itself has no business there.
        let plugin = self.parsed.pointer("/users/0/user/exec").is_some_and(Value::is_object);
        let home = (!plugin).then_some(self.dir.as_path());
        kubectl(&self.binary, &self.kubeconfig_path(), &self.dir, home, arguments).await
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The rest are credentials.
        f.debug_struct("Access").field("dir", &self.dir).finish_non_exhaustive()
    }
}

async fn kubectl(binary: &Path, kubeconfig: &Path, dir: &Path, home: Option<&Path>, arguments: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::new(binary);
    // Its discovery cache stays here, and the user's preferences are not wanted.
    command.env("KUBECONFIG", kubeconfig).env("KUBECACHEDIR", dir.join("kubectl-cache")).env("KUBERC", "off");
    if let Some(home) = home {
        command.env("HOME", home);
    }
    let output = command
        .arg("kubectl")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| Error::Start { program: "kubectl".to_owned(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: format!("kubectl {}", arguments.join(" ")),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
