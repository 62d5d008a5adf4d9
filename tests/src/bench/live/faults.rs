//! The catalogue: one row for each fault, with what is done to the shop and what is true meanwhile. To add one: a row.

use assent_core::ids::Domain;

use crate::shop;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name in files and on the command line.
    pub name: &'static str,
    /// What happened, in words.
    pub what: &'static str,
    /// How many pods of `orders` there are long before.
    pub replicas: u32,
    /// How it is caused.
    pub cause: Cause,
    /// What is right to say and do.
    pub truth: Truth,
}

/// What is right to say of a fault and to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// `namespace/name` of where it lies.
    pub service: &'static str,
    /// Of which kind it is; some faults can rightly be called two.
    pub domains: &'static [Domain],
    /// Names of actions on that service that end it; none where only a person can.
    pub remedies: &'static [&'static str],
    /// Whether to leave it to a person is right too.
    pub or_none: bool,
}

/// How a fault is caused. The shop's Deployments, its settings and the customers' rate are put back afterwards, whatever it was;
/// what else must be undone is named here.
#[derive(Clone, Copy, Debug)]
pub enum Cause {
    /// Calls of kubectl in the shop's namespace, as a person makes them.
    Kubectl(&'static [&'static [&'static str]]),
    /// One of the faults that the demo has too.
    Shop(shop::Fault),
    /// One of two pods of `orders` keeps its port and answers nothing.
    WedgeOne,
    /// A busy process in the container of `orders`.
    Hog,
    /// PostgreSQL stands still most of the time.
    Stutter,
    /// Some of what comes to `orders` from other pods is dropped.
    Drop,
    /// Statements to PostgreSQL.
    Sql {
        /// What must be there for it to hurt; long before, and harmless when it is done again.
        before: &'static str,
        /// The fault.
        fault: &'static str,
        /// What undoes it.
        undo: &'static str,
    },
    /// A session that stays open after these statements and does nothing.
    Session(&'static str),
    /// A busy pod of somebody else on the same node, which asked for more of it than the shop's.
    Neighbour,
}

const ORDERS: &str = "shop/orders";
const POSTGRES: &str = "shop/postgres";
const ROLLBACK: &[&str] = &["RollbackWorkload"];
const APPLICATION: &[Domain] = &[Domain::Application];
const COMPUTE: &[Domain] = &[Domain::Compute];
const COMPUTE_OR_APPLICATION: &[Domain] = &[Domain::Compute, Domain::Application];

/// The catalogue.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "cpu-hog",
        what: "a busy process in the container of orders takes its processor time",
        replicas: 1,
        cause: Cause::Hog,
        truth: Truth { service: ORDERS, domains: COMPUTE, remedies: &["RestartWorkload", "ScaleWorkload"], or_none: false },
    },
    Fault {
        name: "memory-leak",
        what: "a release of orders leaves memory behind with each request until it is killed, again and again",
        replicas: 1,
        cause: Cause::Kubectl(&[&["set", "env", "deployment/orders", "SHOP_BUG=leak"]]),
        truth: Truth { service: ORDERS, domains: COMPUTE_OR_APPLICATION, remedies: ROLLBACK, or_none: false },
    },
    Fault {
        name: "low-limit",
        what: "orders gets a processor limit far below what it uses",
        replicas: 1,
        cause: Cause::Kubectl(&[&["set", "resources", "deployment/orders", "--requests=cpu=40m", "--limits=cpu=40m"]]),
        truth: Truth { service: ORDERS, domains: COMPUTE_OR_APPLICATION, remedies: &["RollbackWorkload", "ScaleWorkload"], or_none: false },
    },
    Fault {
        name: "wedge",
        what: "orders keeps its port and answers nothing",
        replicas: 1,
        cause: Cause::Shop(shop::Fault::Wedge),
        truth: Truth { service: ORDERS, domains: COMPUTE_OR_APPLICATION, remedies: &["RestartWorkload"], or_none: false },
    },
    Fault {
        name: "wedge-one",
        what: "one of two pods of orders keeps its port and answers nothing",
        replicas: 2,
        cause: Cause::WedgeOne,
        truth: Truth { service: ORDERS, domains: COMPUTE_OR_APPLICATION, remedies: &["EvictPod"], or_none: false },
    },
    Fault {
        name: "crash-loop",
        what: "a release of orders ends with an error after a hundred requests, again and again",
        replicas: 1,
        cause: Cause::Kubectl(&[&["set", "env", "deployment/orders", "SHOP_BUG=crash"]]),
        truth: Truth { service: ORDERS, domains: COMPUTE_OR_APPLICATION, remedies: ROLLBACK, or_none: false },
    },
    Fault {
        name: "slow-dependency",
        what: "PostgreSQL stands still nine tenths of each second, as on a bad disk",
        replicas: 1,
        cause: Cause::Stutter,
        truth: Truth { service: POSTGRES, domains: &[Domain::Database, Domain::Compute], remedies: &[], or_none: true },
    },
    Fault {
        name: "dropped-packets",
        what: "three of ten packets from other pods to orders are dropped",
        replicas: 1,
        cause: Cause::Drop,
        // New pods have new rules, so a restart ends it.
        truth: Truth { service: ORDERS, domains: &[Domain::Network], remedies: &["RestartWorkload"], or_none: true },
    },
    Fault {
        name: "pool-exhausted",
        what: "a release of orders keeps one database connection after another until its pool has none",
        replicas: 1,
        cause: Cause::Kubectl(&[&["set", "env", "deployment/orders", "SHOP_BUG=hoard"]]),
        truth: Truth { service: ORDERS, domains: &[Domain::Application, Domain::Database], remedies: ROLLBACK, or_none: false },
    },
    Fault {
        name: "long-lock",
        what: "a session holds the table of orders and does nothing",
        replicas: 1,
        cause: Cause::Session("begin; lock table orders in access exclusive mode"),
        truth: Truth { service: POSTGRES, domains: &[Domain::Database], remedies: &[], or_none: true },
    },
    Fault {
        name: "dropped-index",
        what: "a migration puts the index of products on another column",
        replicas: 1,
        cause: Cause::Sql {
            // Rows that nobody asks for, and that a query without its index has to read. In parts, or the log of it fills the disk.
            before: "insert into orders (product, quantity) select 0, 1 from generate_series(1, 800000) where not exists (select from orders where product = 0); checkpoint;
                insert into orders (product, quantity) select -1, 1 from generate_series(1, 800000) where not exists (select from orders where product = -1); checkpoint;
                insert into orders (product, quantity) select -2, 1 from generate_series(1, 800000) where not exists (select from orders where product = -2); checkpoint;
                analyze orders",
            fault: "drop index orders_by_product; create index orders_by_product on orders (quantity)",
            undo: "drop index orders_by_product; create index orders_by_product on orders (product)",
        },
        truth: Truth { service: POSTGRES, domains: &[Domain::Database], remedies: &[], or_none: true },
    },
    Fault {
        name: "bad-image",
        what: "a new image of orders answers most requests with errors",
        replicas: 1,
        cause: Cause::Kubectl(&[&["set", "image", "deployment/orders", "orders=localhost/assent-shop:v2"]]),
        truth: Truth { service: ORDERS, domains: APPLICATION, remedies: ROLLBACK, or_none: false },
    },
    Fault {
        name: "wide-release",
        what: "a release of three pods of orders answers three of five requests with errors; going back begins with one pod",
        replicas: 3,
        cause: Cause::Kubectl(&[&["set", "env", "deployment/orders", "SHOP_BUG=errors"]]),
        truth: Truth { service: ORDERS, domains: APPLICATION, remedies: ROLLBACK, or_none: false },
    },
    Fault {
        name: "bad-config",
        what: "a release of storefront looks for orders at a port where nobody listens",
        replicas: 1,
        cause: Cause::Kubectl(&[&["set", "env", "deployment/storefront", "SHOP_ORDERS=orders:8081"]]),
        truth: Truth { service: "shop/storefront", domains: APPLICATION, remedies: ROLLBACK, or_none: false },
    },
    Fault {
        name: "bad-flag",
        what: "a flag in the settings of orders switches on what does not work; its Deployment stays as it was",
        replicas: 1,
        cause: Cause::Kubectl(&[
            &["patch", "configmap", "orders-settings", "--type=merge", "--patch={\"data\":{\"SHOP_BUG\":\"errors\"}}"],
            &["rollout", "restart", "deployment/orders"],
        ]),
        // An older template refers to the same settings: going back to it would change nothing.
        truth: Truth { service: ORDERS, domains: APPLICATION, remedies: &["RevertConfig"], or_none: false },
    },
    Fault {
        name: "traffic-spike",
        what: "three times as many customers as ever",
        replicas: 1,
        cause: Cause::Shop(shop::Fault::Load),
        truth: Truth { service: ORDERS, domains: COMPUTE, remedies: &["ScaleWorkload"], or_none: false },
    },
    Fault {
        name: "noisy-neighbour",
        what: "another tenant's pod takes the node's processors",
        replicas: 1,
        cause: Cause::Neighbour,
        truth: Truth { service: "neighbour/noise", domains: COMPUTE, remedies: &[], or_none: true },
    },
];

/// The faults of these names, in this order; all of them without a name.
///
/// # Errors
/// If there is no fault of a name.
pub fn named(names: &[String]) -> anyhow::Result<Vec<&'static Fault>> {
    if names.is_empty() {
        return Ok(FAULTS.iter().collect());
    }
    let one = |name: &String| {
        let known = || FAULTS.iter().map(|fault| fault.name).collect::<Vec<_>>().join(", ");
        FAULTS.iter().find(|fault| fault.name == name).ok_or_else(|| anyhow::anyhow!("no fault is called `{name}`; there are {}", known()))
    };
    names.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_a_truth_that_can_be_met() {
        let names: BTreeSet<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        assert!(names.len() == FAULTS.len() && names.len() >= 13, "{names:?}");
        for fault in FAULTS {
            let truth = fault.truth;
            assert!(!truth.domains.is_empty() && (truth.or_none || !truth.remedies.is_empty()), "{}", fault.name);
            assert!(truth.remedies.iter().all(|remedy| assent_core::action::NAMES.contains(remedy)), "{}", fault.name);
        }
    }

    #[test]
    fn faults_are_chosen_by_name_and_a_wrong_name_is_told() {
        let chosen = named(&["wedge".to_owned(), "cpu-hog".to_owned()]).unwrap();
        assert_eq!(chosen.iter().map(|fault| fault.name).collect::<Vec<_>>(), ["wedge", "cpu-hog"]);
        assert_eq!(named(&[]).unwrap().len(), FAULTS.len());
        assert!(named(&["flood".to_owned()]).unwrap_err().to_string().contains("traffic-spike"));
    }
}
