//! Estimate rules that several libraries share.

use crate::cel::cost::TRAVERSAL;
use crate::cel::estimate::{Estimate, EstimateRule, Range};

/// One unit.
pub(crate) const UNIT_ESTIMATE: EstimateRule = |_| Some(Estimate::cost(Range::exactly(1)));
/// One walk over the argument.
pub(crate) const TRAVERSE_ARGUMENT: EstimateRule = |call| Some(Estimate::cost(call.size(0).scaled(TRAVERSAL)));
/// One walk over the argument; the result is as long.
pub(crate) const TRAVERSE_ARGUMENT_KEEPING: EstimateRule = |call| Some(Estimate { cost: call.size(0).scaled(TRAVERSAL), size: Some(call.size(0)) });
/// Two walks over the argument.
pub(crate) const REBUILD_ARGUMENT: EstimateRule = |call| Some(Estimate::cost(call.size(0).scaled(2.0 * TRAVERSAL)));
/// One walk over the receiver; the result is as long.
pub(crate) const TRAVERSE_TARGET_KEEPING: EstimateRule = |call| Some(Estimate { cost: call.target_size().scaled(TRAVERSAL), size: Some(call.target_size()) });
