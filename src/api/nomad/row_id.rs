//! Ids of rows in paths and bodies.

use jobs::model::{Id, Kind};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// The id of a row as a request names it. A text that is no id is the id of nothing, so that it is
/// answered as an unknown row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowId<K: Kind>(pub(crate) Id<K>);

impl<K: Kind> From<&str> for RowId<K> {
    fn from(text: &str) -> Self {
        Self(Id::parse(text).unwrap_or_default())
    }
}

impl<'de, K: Kind> Deserialize<'de> for RowId<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(Self::from(&*text))
    }
}
