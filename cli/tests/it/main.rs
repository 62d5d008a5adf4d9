//! The manifests and the plugin against a real API server. Each test starts one of its own, without nodes: nothing runs, but
//! everything is admitted, authorised, defaulted and audited as in any cluster.

mod explains;
mod install;
mod native;
mod rights;
mod world;
