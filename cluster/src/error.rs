//! What can go wrong while a cluster starts, runs or goes away: one variant per operation.
//!
//! The text names what an operator can look at (a path, a command, a log); the cause is the source and is not repeated.

use std::{io, path::PathBuf};

/// Why a cluster operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder under the scratch or cache directory could not be read, written or removed.
    #[error("{operation} `{}`", path.display())]
    File {
        /// What was tried, as a verb: `write`, `remove` …
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("start `{program}`")]
    Start {
        /// The program's name.
        program: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The cluster has no server of that name.
    #[error("the cluster has no server `{name}`; its folder `logs` names them")]
    NoServer {
        /// The name that was given.
        name: String,
    },
    /// A program ran and failed.
    #[error("`{command}` failed with {status}: {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status, in words.
        status: String,
        /// The end of what it wrote to its error output.
        stderr: String,
    },
    /// A server of the cluster ended although it should run.
    #[error("`{process}` ended with {status}; the end of {}:\n{tail}", log.display())]
    Ended {
        /// Which server.
        process: String,
        /// Its exit status, in words.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// Something did not become ready in time.
    #[error("{what} was not ready after {seconds} s; logs are in {}", logs.display())]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// Where the servers' logs are.
        logs: PathBuf,
    },
    /// Programs of the operating system that a node needs are missing.
    #[error("a node needs {programs}; install them: apt-get install {packages}")]
    Missing {
        /// The missing programs or folders.
        programs: String,
        /// The Debian packages that hold everything a node needs.
        packages: String,
    },
    /// A node needs root: network namespaces, mounts and cgroups.
    #[error("a node needs root (network namespaces, mounts, cgroups); `api_only` does not")]
    NotRoot,
    /// The name cannot be used for a cluster.
    #[error("`{name}` is no cluster name: 1 to 24 of a-z, 0-9 and -, beginning with a letter")]
    Name {
        /// The name that was given.
        name: String,
    },
    /// Another live process owns a cluster of that name.
    #[error("cluster `{name}` is in use by another process (its lock in {} is held)", dir.display())]
    InUse {
        /// The cluster's name.
        name: String,
        /// Its directory.
        dir: PathBuf,
    },
    /// No cluster of that name was left running.
    #[error("no cluster `{name}` is up; start it with: assent-cluster up --name {name}")]
    Absent {
        /// The cluster's name.
        name: String,
    },
    /// A cluster that was left running is there, but its API server does not answer.
    #[error("cluster `{name}` does not answer; remove it with: assent-cluster down --name {name}")]
    Unreachable {
        /// The cluster's name.
        name: String,
        /// What the client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// All small address ranges for nodes are taken.
    #[error("no free address range: {count} nodes are up; take some down")]
    Full {
        /// How many are in use.
        count: usize,
    },
    /// A key or certificate could not be made.
    #[error("issue certificate for `{name}`")]
    Certificate {
        /// The subject.
        name: String,
        /// What the certificate library said.
        #[source]
        source: rcgen::Error,
    },
    /// More groups were asked for than a client certificate here can carry.
    #[error("a certificate for `{name}` can carry {max} groups, not {given}")]
    Groups {
        /// The user.
        name: String,
        /// How many were asked for.
        given: usize,
        /// How many fit.
        max: usize,
    },
    /// The kubeconfig does not make a client.
    #[error("build client from kubeconfig")]
    Kubeconfig(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server refused something the cluster itself needs.
    #[error("{operation} in the cluster")]
    Api {
        /// What was tried.
        operation: &'static str,
        /// What the API server or client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// A library that a binary of an image needs was not found.
    #[error("`{}` needs {libraries}, which no installed or named package has", binary.display())]
    Library {
        /// The binary.
        binary: PathBuf,
        /// The library names.
        libraries: String,
    },
    /// Recorded state cannot be read back.
    #[error("read state `{}`", path.display())]
    State {
        /// The state file.
        path: PathBuf,
        /// Why it does not parse.
        #[source]
        source: serde_json::Error,
    },
    /// A blocking task of ours ended abnormally.
    #[error("blocking task ended abnormally")]
    Task(#[source] tokio::task::JoinError),
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: an I/O error on `path` while doing `operation`.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }

    /// For `map_err`: an API error while doing `operation`.
    pub(crate) fn api(operation: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { operation, source: Box::new(source) }
    }
}
