//! Ids and names of the catalog, typed by what they name.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Deref;

use arcstr::ArcStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:ident $noun:literal;)*) => {$(
        #[doc = concat!("Marks ", $noun, ".")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind;

        $(#[$doc])*
        pub type $name = Name<$kind>;
    )*};
}

kinds! {
    /// Id of a node (a UUID); empty for a node that was registered without one.
    NodeIdKind NodeId "ids of nodes";
    /// Name of a node, unique in the catalog.
    NodeNameKind NodeName "names of nodes";
    /// Id of a service instance, unique on its node.
    ServiceIdKind ServiceId "ids of service instances";
    /// Name of a service, shared by its instances.
    ServiceNameKind ServiceName "names of services";
    /// Id of a check, unique on its node.
    CheckIdKind CheckId "ids of checks";
    /// Id of a session (a UUID).
    SessionIdKind SessionId "ids of sessions";
    /// Id of a prepared query (a UUID).
    QueryIdKind QueryId "ids of prepared queries";
    /// Id of the allocation behind an instance (a UUID).
    AllocIdKind AllocId "ids of allocations";
    /// Namespace of the job behind an instance.
    NamespaceKind Namespace "namespaces";
    /// Id of the job behind an instance, unique in its namespace.
    JobIdKind JobId "ids of jobs";
    /// Name of the task group behind an instance.
    GroupNameKind GroupName "names of task groups";
    /// Name of the task behind an instance.
    TaskNameKind TaskName "names of tasks";
}

/// A text that names something of one kind. A clone shares the text.
///
/// Shape: any text, compared and ordered byte by byte; what it may contain is checked where it
/// comes in. Plain text in every format.
pub struct Name<K> {
    text: ArcStr,
    kind: PhantomData<K>,
}

impl<K> Name<K> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Itself, unless it is empty: requests and older formats name nothing so.
    #[must_use]
    pub fn or_none(self) -> Option<Self> {
        (!self.text.is_empty()).then_some(self)
    }
}

/// Names that stored rows keep as an empty text where there is none: for
/// `#[serde(with = "crate::model::or_none")]`.
pub(crate) mod or_none {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Name;

    pub(crate) fn serialize<K, S: Serializer>(
        name: &Option<Name<K>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        name.as_deref().unwrap_or_default().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, K, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Name<K>>, D::Error> {
        Name::deserialize(deserializer).map(Name::or_none)
    }
}

impl<K> Clone for Name<K> {
    fn clone(&self) -> Self {
        Self {
            text: ArcStr::clone(&self.text),
            kind: PhantomData,
        }
    }
}

impl<K> Default for Name<K> {
    fn default() -> Self {
        Self {
            text: ArcStr::new(),
            kind: PhantomData,
        }
    }
}

impl<K> From<&str> for Name<K> {
    fn from(text: &str) -> Self {
        Self {
            text: ArcStr::from(text),
            kind: PhantomData,
        }
    }
}

impl<K> From<String> for Name<K> {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl<K> From<&String> for Name<K> {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl<K> From<&Name<K>> for Name<K> {
    fn from(name: &Name<K>) -> Self {
        name.clone()
    }
}

impl<K> From<Name<K>> for String {
    fn from(name: Name<K>) -> Self {
        name.as_str().to_owned()
    }
}

impl<K> Deref for Name<K> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl<K> Borrow<str> for Name<K> {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl<K> AsRef<str> for Name<K> {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl<K> PartialEq for Name<K> {
    fn eq(&self, other: &Self) -> bool {
        ArcStr::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}

impl<K> Eq for Name<K> {}

impl<K> PartialEq<str> for Name<K> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl<K> PartialEq<&str> for Name<K> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<K> PartialEq<String> for Name<K> {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl<K> PartialEq<Name<K>> for &str {
    fn eq(&self, other: &Name<K>) -> bool {
        other == self
    }
}

impl<K> PartialEq<Name<K>> for str {
    fn eq(&self, other: &Name<K>) -> bool {
        other == self
    }
}

impl<K> PartialEq<Name<K>> for String {
    fn eq(&self, other: &Name<K>) -> bool {
        other == self
    }
}

impl<K> PartialOrd for Name<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Name<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl<K> Hash for Name<K> {
    /// As its text does, which it may be looked up by.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl<K> fmt::Display for Name<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self)
    }
}

impl<K> fmt::Debug for Name<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

impl<K> Serialize for Name<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de, K> Deserialize<'de> for Name<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_is_its_text_in_every_format() {
        let name = ServiceName::from("web");
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"web\"");
        assert_eq!(
            serde_json::from_str::<ServiceName>("\"web\"").unwrap(),
            name
        );
        let (as_name, as_text) = (
            rmp_serde::to_vec_named(&name).unwrap(),
            rmp_serde::to_vec_named("web").unwrap(),
        );
        assert_eq!(as_name, as_text);
        assert_eq!(
            (format!("{name:>5}"), format!("{name:?}")),
            ("  web".into(), "\"web\"".into())
        );
        let known = BTreeMap::from([(name, 1)]);
        assert_eq!(known.get("web"), Some(&1));
    }
}
