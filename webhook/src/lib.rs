//! Two admission webhooks that share serving code and nothing else: the gate judges, the injector adds sidecars. Each is a
//! process with an account of its own.

pub mod gate;
pub mod injector;
pub mod review;
