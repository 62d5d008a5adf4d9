//! `breaker`: people's word on what failed. How a breaker stands is computed from the plans; a person says that they looked.

use anyhow::Context as _;
use assent_api::names::SYSTEM_NAMESPACE;
use assent_api::resources::{CLUSTER_BREAKER, CircuitBreaker, CircuitBreakerSpec, Lifted, Promoted, PromotedTo, breaker_name};
use assent_core::action::NAMES;
use assent_core::target::Service;
use clap::Subcommand;
use kube::Api;
use kube::api::PostParams;

use crate::approve::who;
use crate::connect::ConnectArgs;
use crate::output::good;

#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "\
Examples:
  kubectl get cb -n assent-system                                how every service stands
  kubectl assent breaker lift shop/orders --reason 'bad node replaced'
  kubectl assent breaker lift --all --reason 'false alarms, mended'
  kubectl assent breaker promote shop/orders RestartWorkload --to approve")]
pub(crate) enum BreakerCommand {
    /// Say that you looked into what failed: circuit and strikes of a service begin anew, or the brake of all
    Lift(LiftArgs),
    /// Say how far a machine may go alone with an action on a service
    Promote(PromoteArgs),
}

/// Flags of `breaker lift`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LiftArgs {
    /// NAMESPACE/NAME.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    service: Option<String>,
    /// The brake of all services together.
    #[arg(long)]
    all: bool,
    /// Why, for whoever asks later.
    #[arg(long)]
    reason: String,
}

/// Flags of `breaker promote`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// NAMESPACE/NAME.
    service: String,
    /// Name of the action.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(NAMES))]
    action: String,
    /// How far.
    #[arg(long, value_enum)]
    to: Level,
}

/// How far an action may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Level {
    /// It asks people each time.
    Approve,
    /// As far as the Blueprint says.
    Autonomous,
}

pub(crate) async fn run(command: &BreakerCommand, connect: &ConnectArgs) -> anyhow::Result<()> {
    let client = connect.client().await?;
    let (by, _) = who(client.clone()).await?;
    let at = jiff::Timestamp::now().to_string();
    let api: Api<CircuitBreaker> = Api::namespaced(client, SYSTEM_NAMESPACE);
    match command {
        BreakerCommand::Lift(LiftArgs { service, reason, .. }) => {
            let service = service.as_deref().map(parse).transpose()?;
            let lifted = Lifted { by, at, reason: reason.clone() };
            change(&api, service.as_ref(), |spec| spec.lifted = Some(lifted)).await?;
            let what = service.map_or_else(|| "the brake of all services".to_owned(), |service| format!("circuit and strikes of {service}"));
            anstream::println!("{}: {what}", good("lifted"));
        }
        BreakerCommand::Promote(PromoteArgs { service, action, to }) => {
            let service = parse(service)?;
            let to = match to {
                Level::Approve => PromotedTo::Approve,
                Level::Autonomous => PromotedTo::Autonomous,
            };
            let promoted = Promoted { action: action.clone(), to, by, at };
            change(&api, Some(&service), |spec| {
                spec.promotions.retain(|before| before.action != promoted.action);
                spec.promotions.push(promoted);
            })
            .await?;
            anstream::println!("{}: {action} on {service}", good("noted"));
        }
    }
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<Service> {
    let (namespace, name) = text.split_once('/').with_context(|| format!("`{text}` is no NAMESPACE/NAME"))?;
    Ok(Service { namespace: namespace.to_owned(), name: name.to_owned() })
}

async fn change(api: &Api<CircuitBreaker>, service: Option<&Service>, change: impl FnOnce(&mut CircuitBreakerSpec)) -> anyhow::Result<()> {
    let name = service.map_or_else(|| CLUSTER_BREAKER.to_owned(), breaker_name);
    match api.get_opt(&name).await.context("read the circuit breaker")? {
        Some(mut stored) => {
            change(&mut stored.spec);
            api.replace(&name, &PostParams::default(), &stored).await.context("the word was not taken")?;
        }
        None => {
            let mut object = service.map_or_else(|| CircuitBreaker::new(CLUSTER_BREAKER, CircuitBreakerSpec::default()), CircuitBreaker::for_service);
            change(&mut object.spec);
            api.create(&PostParams::default(), &object).await.context("the word was not taken")?;
        }
    }
    Ok(())
}
