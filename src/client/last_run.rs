//! Which run of a task was its last.

use serde::{Deserialize, Serialize};

/// How a file tells a run that was lost.
const UNKNOWN: &str = "unknown";

/// The last run of a task that was started here and whose end was not seen. A file keeps it as a
/// text: empty for none, `unknown`, or the id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(super) enum LastRun {
    /// Nothing runs.
    #[default]
    None,
    /// Something may run, and which run it is has been lost.
    Unknown,
    /// The run with this id.
    Known(String),
}

impl LastRun {
    /// True when nothing can be left of any run.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// True when it is known to be this run.
    pub(super) fn is(&self, run_id: &str) -> bool {
        matches!(self, Self::Known(known) if known == run_id)
    }

    /// True when it is this run for all that is known.
    pub(super) fn may_be(&self, run_id: &str) -> bool {
        *self == Self::Unknown || self.is(run_id)
    }
}

impl From<String> for LastRun {
    fn from(text: String) -> Self {
        match text.as_str() {
            "" => Self::None,
            UNKNOWN => Self::Unknown,
            _ => Self::Known(text),
        }
    }
}

impl From<LastRun> for String {
    fn from(run: LastRun) -> Self {
        match run {
            LastRun::None => Self::new(),
            LastRun::Unknown => UNKNOWN.to_owned(),
            LastRun::Known(id) => id,
        }
    }
}

/// A text that a file keeps empty where there is none.
pub(super) mod empty_for_none {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        text: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text.as_deref().unwrap_or_default())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok((!text.is_empty()).then_some(text))
    }
}
