//! What Assent decides, as total functions of values: no clock, network, file, environment, randomness, Kubernetes client or
//! async. Time and randomness are arguments; effects are values that a binary carries out.
//!
//! Read in this order: an [`incident`] opens and steps through its life; seats judge it ([`seats`]) and cast [`ballot`]s;
//! [`consensus`] tallies them into one outcome; the outcome's [`action`], within what a [`blueprint`] allows, becomes a
//! [`plan`]; [`proof`] says whether one concrete write is that plan and nothing else; [`verification`] says whether it
//! helped; [`ledger`] binds the record of it all. [`demand`] says what a service needs when nothing is broken, and [`breaker`] how much may be done to it.
#![deny(missing_docs, clippy::expect_used, clippy::unreachable, clippy::indexing_slicing)]

pub mod canonical;
pub mod ids;
pub mod target;
pub mod workload;

pub mod incident;

pub mod ballot;
pub mod diagnosis;
pub mod seats;

pub mod consensus;

pub mod action;
pub mod approval;
pub mod blueprint;
pub mod breaker;
pub mod canary;
pub mod demand;
pub mod plan;
pub mod proof;
pub mod refusal;
pub mod verification;

pub mod ledger;
