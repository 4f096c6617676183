//! One consistent view of all replicated tables.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::view::View;

/// All tables at one moment; cloning shares structure. It reads like its catalog view.
///
/// Serialized, it is the catalog view, beside which further tables will stand as further fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "View", into = "View")]
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

impl From<View> for Snapshot {
    fn from(view: View) -> Self {
        Self { view }
    }
}

impl From<Snapshot> for View {
    fn from(snapshot: Snapshot) -> Self {
        snapshot.view
    }
}
