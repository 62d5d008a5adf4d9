//! People are asked in Slack, and the buttons that they press are brought to the gate. Off unless a channel is named.
//!
//! Nothing here is trusted: what a button says is signed by Slack for the gate, which alone holds the signing secret. This part can
//! lose a word or bring it too late; it cannot make one.

mod answering;
mod asking;
mod requests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use assent_runtime::store::Store as Receiver;
use axum::Router;
use futures::FutureExt as _;
use kube::Client;

use crate::director::Director;
use crate::outbox;
use requests::Requests;

/// Connections at once of those who bring what was pressed: few at a time are judged, and each ends after seconds.
pub(crate) const CONNECTIONS: usize = 32;

/// Where people are asked in chat.
#[derive(Clone, Debug, clap::Args)]
pub struct SlackArgs {
    /// Id of the Slack channel where people are asked whom a Blueprint names as `slack:TEAM/USER`. Without one nothing is posted, and
    /// nobody listens for buttons.
    #[arg(long, env = "ASSENT_SLACK_CHANNEL", requires = "slack_token_file")]
    pub slack_channel: Option<String>,
    /// File with the token of the bot that posts there (`chat:write`); read again for every message.
    #[arg(long, env = "ASSENT_SLACK_TOKEN_FILE", requires = "slack_channel")]
    pub slack_token_file: Option<PathBuf>,
    /// Where Slack posts what was pressed, plain HTTP, apart from where alerts come in.
    #[arg(long, env = "ASSENT_SLACK_ADDRESS", default_value = "0.0.0.0:8082")]
    pub slack_address: SocketAddr,
    /// Where Slack's API is.
    #[arg(long, env = "ASSENT_SLACK_API_URL", default_value = "https://slack.com/api")]
    pub slack_api_url: String,
    /// PEM of the CA that signs its certificate, instead of the public ones.
    #[arg(long, env = "ASSENT_SLACK_API_CA_FILE")]
    pub slack_api_ca_file: Option<PathBuf>,
}

/// Slack, where it is on. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Slack {
    api: Arc<Receiver>,
    channel: String,
    pub(crate) requests: Requests,
}

// === impl SlackArgs ===

impl SlackArgs {
    pub(crate) fn is_on(&self) -> bool {
        self.slack_channel.is_some()
    }

    /// Slack, if it is on.
    ///
    /// # Errors
    /// If its address is none, or its CA cannot be read.
    pub(crate) fn open(&self, client: &Client) -> anyhow::Result<Option<Slack>> {
        let Some(channel) = self.slack_channel.clone() else { return Ok(None) };
        let api = Receiver::new(&self.slack_api_url, self.slack_token_file.as_deref(), self.slack_api_ca_file.as_deref())?;
        Ok(Some(Slack { api: Arc::new(api), channel, requests: Requests::new(client.clone()) }))
    }
}

// === impl Slack ===

impl Slack {
    /// Where Slack posts what was pressed.
    pub(crate) fn router(&self, director: &Director) -> Router {
        answering::router(self.requests.clone(), director.ours())
    }
}

/// Asks whoever must be asked, until dropped.
pub(crate) async fn run(director: Director, slack: Option<Slack>) {
    let Some(slack) = slack else { return std::future::pending().await };
    // What is not known yet would look as if it were over.
    slack.requests.ready().await;
    outbox::run(slack.requests.news(), "Slack", || asking::ask(&director, &slack).boxed()).await;
}
