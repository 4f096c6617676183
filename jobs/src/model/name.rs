//! Names that users give, typed by what they name.

use arcstr::ArcStr;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use std::{
    borrow::Borrow, cmp::Ordering, fmt, hash::Hash, hash::Hasher, marker::PhantomData, ops::Deref,
    sync::LazyLock,
};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:ident $noun:literal;)*) => {$(
        #[doc = concat!("Marks names of ", $noun, "s.")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind;

        $(#[$doc])*
        pub type $name = Name<$kind>;
    )*};
}

kinds! {
    /// Name of a namespace.
    NamespaceKind Namespace "namespace";
    /// Id of a job, unique in its namespace; users choose it.
    JobKind JobId "job";
    /// Name of a task group, unique in its job.
    GroupKind GroupName "task group";
    /// Name of a task, unique in its group.
    TaskKind TaskName "task";
    /// Name of an allocation: `job.group[index]`.
    AllocNameKind AllocName "allocation";
    /// Name of a node; several may have the same.
    NodeNameKind NodeName "node";
    /// Path of a variable, unique in its namespace.
    VariableKind VariablePath "variable";
    /// What the holder of a variable's lock shows.
    LockKind LockId "lock";
    /// A short text that many rows repeat: the kind of an event, a key of its details, a score's
    /// name.
    TextKind Text "text";
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
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Itself, unless it is empty: job files and older formats name nothing so.
    pub fn or_none(self) -> Option<Self> {
        (!self.text.is_empty()).then_some(self)
    }

    /// Keeps the text in the memory of `other` when that is the same text.
    pub fn share(&mut self, other: &Self) {
        if self == other {
            *self = other.clone();
        }
    }
}

/// Names that rows keep as an empty text where there is none: for
/// `#[serde(with = "super::name::or_none")]`.
pub(super) mod or_none {
    use super::{Deserialize as _, Deserializer, Name, Serialize as _, Serializer};

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
        Self::from("")
    }
}

/// Texts that nearly every row has, in ascending order; they are in memory once for all rows.
const COMMON: &[&str] = &[
    "",
    "0",
    "1",
    "All tasks have completed",
    "Building Task Directory",
    "Exit Code: 0",
    "Exit Code: 1",
    "Killed",
    "Killing",
    "Received",
    "Started",
    "Task Setup",
    "Task received by client",
    "Task started by client",
    "Task successfully killed",
    "Tasks are running",
    "Terminated",
    "allocation-spread",
    "args",
    "binpack",
    "command",
    "dc1",
    "default",
    "exit_code",
    "exit_message",
    "fails_task",
    "false",
    "global",
    "job-anti-affinity",
    "kill_timeout",
    "node-affinity",
    "node-reschedule-penalty",
    "oom_killed",
    "restart_reason",
    "signal",
    "start_delay",
    "true",
];

/// The shared form of a text. Texts are ordered by length first, so that nearly all comparisons
/// look at no letter.
fn shared(text: &str) -> ArcStr {
    static KEPT: LazyLock<Vec<ArcStr>> = LazyLock::new(|| {
        let mut kept: Vec<ArcStr> = COMMON.iter().map(|&text| ArcStr::from(text)).collect();
        kept.sort_by(|a, b| by_length(a, b));
        kept
    });
    match KEPT.binary_search_by(|kept| by_length(kept, text)) {
        Ok(at) => ArcStr::clone(&KEPT[at]),
        Err(_) => ArcStr::from(text),
    }
}

fn by_length(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl<K> From<&str> for Name<K> {
    fn from(text: &str) -> Self {
        Self {
            text: shared(text),
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
        &*self.text == other
    }
}

impl<K> PartialEq<&str> for Name<K> {
    fn eq(&self, other: &&str) -> bool {
        &*self.text == *other
    }
}

impl<K> PartialEq<String> for Name<K> {
    fn eq(&self, other: &String) -> bool {
        *self.text == **other
    }
}

impl<K> PartialEq<Name<K>> for &str {
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
        self.text.hash(state);
    }
}

impl<K> fmt::Display for Name<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl<K> fmt::Debug for Name<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl<K> Serialize for Name<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, K> Deserialize<'de> for Name<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor(PhantomData))
    }
}

struct NameVisitor<K>(PhantomData<K>);

impl<K> Visitor<'_> for NameVisitor<K> {
    type Value = Name<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Name<K>, E> {
        Ok(Name::from(text))
    }
}

/// A name that may be absent, written as `""` then: for `#[serde(with = "or_empty")]`.
pub(crate) mod or_empty {
    use super::Name;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K, S: Serializer>(
        name: &Option<Name<K>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        name.as_deref().unwrap_or_default().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, K, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Name<K>>, D::Error> {
        let name = Name::deserialize(deserializer)?;
        Ok(Some(name).filter(|name| !name.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_name_is_its_text_in_every_format() {
        let name = JobId::from("web");
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"web\"");
        assert_eq!(serde_json::from_str::<JobId>("\"web\"").unwrap(), name);
        assert_eq!(
            (name.to_string(), format!("{name:?}")),
            ("web".into(), "\"web\"".into())
        );
        let known = BTreeMap::from([(name, 1)]);
        assert_eq!(known.get("web"), Some(&1));
    }

    #[test]
    fn common_texts_are_kept_once() {
        assert!(COMMON.is_sorted());
        for text in COMMON {
            let again: Text = serde_json::from_str(&format!("{text:?}")).unwrap();
            assert!(
                ArcStr::ptr_eq(&Text::from(*text).text, &again.text),
                "{text}"
            );
        }
    }

    #[test]
    fn the_same_text_is_kept_once() {
        let (kept, mut again) = (TaskName::from("main"), TaskName::from("main"));
        again.share(&kept);
        assert!(ArcStr::ptr_eq(&again.text, &kept.text));
        again.share(&TaskName::from("other"));
        assert_eq!(again, "main");
    }

    #[test]
    fn an_absent_name_is_written_as_nothing() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Row {
            #[serde(with = "or_empty")]
            parent: Option<JobId>,
        }
        for (parent, json) in [
            (None, r#"{"parent":""}"#),
            (Some("web".into()), r#"{"parent":"web"}"#),
        ] {
            let row = Row { parent };
            assert_eq!(serde_json::to_string(&row).unwrap(), json);
            assert_eq!(serde_json::from_str::<Row>(json).unwrap(), row);
        }
    }
}
