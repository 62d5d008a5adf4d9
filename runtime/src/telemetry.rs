//! Log set-up: one subscriber per process, text for people and JSON for collectors, filtered by
//! the usual directive syntax. It decides no levels for others and exports no traces.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Flags of the log output.
#[derive(clap::Args, Clone, Debug)]
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
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One human-readable line; coloured only on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

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
}

/// Installs the process-wide subscriber. A second call keeps the first subscriber, so several
/// components can run in one test process.
///
/// # Errors
/// [`Error::Filter`] if the filter does not parse.
pub fn init(args: &LogArgs) -> Result<(), Error> {
    let filter = EnvFilter::builder().parse(&args.filter).map_err(|source| Error::Filter { filter: args.filter.clone(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let installed = match args.format {
        Format::Text => builder.finish().try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    if installed.is_err() {
        tracing::debug!("a log subscriber is already installed");
    }
    Ok(())
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
