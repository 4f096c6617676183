//! One consistent view of all replicated tables.

use std::ops::Deref;

use crate::view::View;

/// All tables at one moment; cloning shares structure. It reads like its catalog view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub(super) view: View,
}

impl Snapshot {
    /// The part that every agent may hold.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }
}

impl Deref for Snapshot {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}
