//! Log set-up: one subscriber per process, text for people and JSON for collectors, filtered by
//! the usual directive syntax. The filter can be replaced while the process runs. It decides no
//! levels for others and exports no traces.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// Flags of the log output.
#[derive(clap::Args, Clone, Debug, serde::Serialize)]
pub struct LogArgs {
    /// Log filter, such as `info` or `info,assent_director=debug`. The client's own lines are off
    /// by default: whoever made the call logs its failure with the reason it mattered.
    #[arg(long = "log", env = "ASSENT_LOG", default_value = "info,kube_client=off")]
    pub filter: String,
    /// Log format.
    #[arg(long = "log-format", env = "ASSENT_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How one log record is written to standard error.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One human-readable line; coloured only on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// The filter of this process's log, which is as global as the log itself.
pub struct Filter {
    text: Mutex<String>,
    replace: reload::Handle<Targets, Registry>,
}

static FILTER: OnceLock<Filter> = OnceLock::new();

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter has a syntax error.
    #[error("parse log filter `{filter}`")]
    Filter {
        /// The text that was refused.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The filter cannot be replaced.
    #[error("replace the log filter")]
    Replace(#[source] reload::Error),
}

/// Installs the process-wide subscriber. A second call keeps the first subscriber, so several
/// components can run in one test process.
///
/// # Errors
/// [`Error::Filter`] if the filter does not parse.
pub fn init(args: &LogArgs) -> Result<(), Error> {
    let filter = parse(&args.filter)?;
    let (filter, replace) = reload::Layer::new(filter);
    let filtered = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let installed = match args.format {
        Format::Text => filtered.with(lines).try_init(),
        Format::Json => filtered.with(lines.json().flatten_event(true)).try_init(),
    };
    // Only the filter of the subscriber that is in use is worth keeping, and there is one at most.
    if installed.is_err() || FILTER.set(Filter { text: Mutex::new(args.filter.clone()), replace }).is_err() {
        tracing::debug!("a log subscriber is already installed");
    }
    Ok(())
}

/// The filter of the subscriber that [`init`] installed.
pub fn filter() -> Option<&'static Filter> {
    FILTER.get()
}

// === impl Filter ===

impl Filter {
    /// The directives in force.
    pub fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other directives in their place until the process ends.
    ///
    /// # Errors
    /// [`Error::Filter`] if they do not parse; then those in force stay.
    pub fn replace(&self, text: &str) -> Result<(), Error> {
        let filter = parse(text)?;
        let mut current = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace.reload(filter).map_err(Error::Replace)?;
        text.clone_into(&mut current);
        Ok(())
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Filter").field(&self.text()).finish()
    }
}

fn parse(text: &str) -> Result<Targets, Error> {
    text.parse().map_err(|source| Error::Filter { filter: text.to_owned(), source })
}

/// An error and all its causes on one line, `outer: cause: root`. Log it once, where the decision
/// to retry, deny or give up is made.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
