//! Fixes or frees the share of some targets of a route.

use serde::{Deserialize, Serialize};

use crate::model::{Split, SplitKey};
use crate::state::transaction::Transaction;
use crate::state::{Noun, Rejected, SPLITS_MAX, TAGS_PER_SERVICE_MAX};

use super::{require_count, require_name};

/// A million, which is all requests of a route.
const WHOLE: u32 = 1_000_000;

/// Fixes the share of some targets of a route, or frees it again.
///
/// Repeating the command changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetSplit {
    /// Which targets.
    pub key: SplitKey,
    /// Their share together in millionths, above 0 and at most a million; none removes the split.
    pub share_millionths: Option<u32>,
}

impl SetSplit {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        require_name(Noun::Route, &self.key.route)?;
        require_name(Noun::ServiceName, &self.key.service)?;
        require_count(Noun::Tag, self.key.tags.len(), TAGS_PER_SERVICE_MAX)?;
        for tag in &self.key.tags {
            require_name(Noun::Tag, tag)?;
        }
        let Some(share_millionths) = self.share_millionths else {
            transaction.remove_split(&self.key);
            return Ok(());
        };
        if share_millionths == 0 || share_millionths > WHOLE {
            return Err(Rejected::ShareOutOfRange { share_millionths });
        }
        let is_new = transaction.tables.splits.row(&self.key).is_none();
        let count = transaction.tables.splits.len() + usize::from(is_new);
        require_count(Noun::Split, count, SPLITS_MAX)?;
        transaction.put_split(Split {
            key: self.key,
            share_millionths,
            ..Split::default()
        });
        Ok(())
    }
}
