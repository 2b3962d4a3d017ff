//! All cases, area by area: one module an area, each with `pub fn cases() -> Vec<Case>`.

use crate::Case;

/// Every case, in the order of printing.
pub fn all() -> Vec<Case> {
    Vec::new()
}
