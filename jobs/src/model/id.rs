//! Ids of rows: sixteen bytes, typed by what they are ids of.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use std::{cmp::Ordering, fmt, marker::PhantomData, num::NonZeroU64, ops::RangeInclusive, str};

/// Length of an id as text: 32 digits and four hyphens.
const TEXT_LEN: usize = 36;
/// Digits of an id.
const DIGITS: usize = 32;
/// Numbers of digits after which a hyphen may stand.
const HYPHENS: [usize; 4] = [8, 12, 16, 20];

/// What an id is an id of; tells the types of ids apart.
pub trait Kind: Copy + Ord + fmt::Debug + Default + std::hash::Hash + 'static {
    /// The noun, for messages.
    const NOUN: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $id:ident $noun:literal;)*) => {$(
        #[doc = concat!("Marks ids of ", $noun, "s.")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind;

        impl Kind for $kind {
            const NOUN: &'static str = $noun;
        }

        $(#[$doc])*
        pub type $id = Id<$kind>;
    )*};
}

kinds! {
    /// Id of an allocation.
    AllocKind AllocId "allocation";
    /// Id of an evaluation.
    EvalKind EvalId "evaluation";
    /// Id of a deployment.
    DeploymentKind DeploymentId "deployment";
    /// Id of a node.
    NodeKind NodeId "node";
    /// Id of a root key.
    RootKeyKind RootKeyId "root key";
}

/// A UUID that names a row of one kind.
///
/// Shape: as text 36 characters in lower case with hyphens; in binary formats 16 bytes. Orders as
/// its bytes do, which is how its text does. [`Id::default`] is the id of nothing and stands for no
/// row.
///
/// Invariant: the first eight bytes are not all ones, which leaves room for the absence of an id:
/// an `Option` of it takes no more memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id<K> {
    /// The first eight bytes, all bits turned round.
    high: NonZeroU64,
    low: u64,
    kind: PhantomData<K>,
}

/// A text or a message that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {noun} id: it has 32 hexadecimal digits in groups of 8-4-4-4-12")]
pub struct NotAnId {
    /// What was given, cut to a bounded length.
    pub text: String,
    /// What it should have been an id of.
    pub noun: &'static str,
}

impl<K: Kind> Id<K> {
    /// The id of these bytes; none for ids that begin with eight bytes of all ones.
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        Self::from_number(u128::from_be_bytes(bytes))
    }

    const fn from_number(number: u128) -> Option<Self> {
        let Some(high) = NonZeroU64::new(!((number >> 64) as u64)) else {
            return None;
        };
        Some(Self {
            high,
            low: number as u64,
            kind: PhantomData,
        })
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.number().to_be_bytes()
    }

    const fn number(self) -> u128 {
        ((!self.high.get()) as u128) << 64 | self.low as u128
    }

    /// Reads the text of an id, in lower or upper case; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_LEN {
            return None;
        }
        Self::from_number(digits(text)?.0)
    }

    /// The ids that begin with the digits of `prefix`, all for an empty one; hyphens may be left
    /// out. None if no id can begin so.
    pub fn with_prefix(prefix: &str) -> Option<RangeInclusive<Self>> {
        let (given, count) = digits(prefix)?;
        let rest = 4 * (DIGITS - count);
        let (low, high) = if rest == 128 {
            (0, u128::MAX)
        } else {
            (given << rest, given << rest | ((1 << rest) - 1))
        };
        // The greatest id that there is.
        let last = u128::MAX - (1 << 64);
        Some(Self::from_number(low)?..=Self::from_number(high.min(last))?)
    }

    /// An id whose first bytes are `name`, for rows that a test or a simulation names itself.
    ///
    /// # Panics
    /// When the name is longer than 16 bytes.
    pub fn named(name: &str) -> Self {
        assert!(name.len() <= 16, "{name:?} is longer than an id");
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Self::from_bytes(bytes).expect("text never begins with bytes of all ones")
    }

    /// The name that [`Id::named`] was given, or the first eight digits of any other id: short
    /// enough for logs and transcripts.
    pub fn label(self) -> String {
        let bytes = self.to_bytes();
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(16);
        let (name, rest) = bytes.split_at(len);
        let named =
            len > 0 && name.iter().all(u8::is_ascii_graphic) && rest.iter().all(|byte| *byte == 0);
        match str::from_utf8(name) {
            Ok(name) if named => name.to_owned(),
            _ => format!("{:08x}", !self.high.get() >> 32),
        }
    }

    /// True for the id that stands for no row.
    pub fn is_nil(self) -> bool {
        self.number() == 0
    }
}

/// The number that the digits in `text` make, and how many they are. None for other characters, for
/// hyphens where an id has none, and for more digits than an id has.
fn digits(text: &str) -> Option<(u128, usize)> {
    let (mut number, mut count) = (0_u128, 0);
    let mut after_hyphen = false;
    for character in text.chars() {
        let is_hyphen = character == '-';
        if is_hyphen {
            if after_hyphen || !HYPHENS.contains(&count) {
                return None;
            }
        } else {
            if count == DIGITS {
                return None;
            }
            number = number << 4 | u128::from(character.to_digit(16)?);
            count += 1;
        }
        after_hyphen = is_hyphen;
    }
    Some((number, count))
}

impl<K: Kind> Default for Id<K> {
    fn default() -> Self {
        Self {
            high: NonZeroU64::MAX,
            low: 0,
            kind: PhantomData,
        }
    }
}

impl<K: Kind> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Kind> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number())
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; TEXT_LEN];
        let mut at = 0;
        for nth in 0..DIGITS {
            at += usize::from(HYPHENS.contains(&nth));
            let digit = self.number() >> (124 - 4 * nth) & 0xf;
            text[at] = CHARACTERS[digit as usize];
            at += 1;
        }
        f.pad(str::from_utf8(&text).unwrap_or_default())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> str::FromStr for Id<K> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Self::parse(text).ok_or_else(|| NotAnId {
            text: text.chars().take(2 * TEXT_LEN).collect(),
            noun: K::NOUN,
        })
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Both forms are read in both formats: a flattened row hides which one it came from.
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(IdVisitor(PhantomData))
        } else {
            deserializer.deserialize_bytes(IdVisitor(PhantomData))
        }
    }
}

/// Reads an id that may be absent. JSON of the published shape may have `""` for none.
pub(super) fn or_none<'de, K: Kind, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Id<K>>, D::Error> {
    let id = Option::<Id<K>>::deserialize(deserializer)?;
    Ok(id.filter(|id| !id.is_nil()))
}

struct IdVisitor<K>(PhantomData<K>);

impl<K: Kind> Visitor<'_> for IdVisitor<K> {
    type Value = Id<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the id of a {}", K::NOUN)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Id<K>, E> {
        // An empty text was the id of nothing before ids had a type.
        if text.is_empty() {
            return Ok(Id::default());
        }
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Id<K>, E> {
        let sixteen = <[u8; 16]>::try_from(bytes).ok();
        sixteen
            .and_then(Id::from_bytes)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Bytes(bytes), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::{AllocId, Id, NodeId, NodeKind};
    use proptest::prelude::*;

    const TEXT: &str = "7ab3c2ff-1111-4222-8333-444455556666";

    #[test]
    fn only_a_whole_id_is_one() {
        assert_eq!(NodeId::parse(TEXT).unwrap().to_string(), TEXT);
        assert_eq!(NodeId::parse(&TEXT.to_uppercase()), NodeId::parse(TEXT));
        for bad in [
            "",
            "7ab3c2ff",
            "7ab3c2ff11114222833344445555666677778888",
            "7ab3c2f-f1111-4222-8333-444455556666",
            "7ab3c2ff--111-4222-8333-444455556666",
            "7ab3c2ff-1111-4222-8333-44445555666g",
            "7ab3c2ff-1111-4222-8333-44445555666\u{e9}",
            "ffffffff-ffff-ffff-0000-000000000000",
        ] {
            assert_eq!(NodeId::parse(bad), None, "{bad}");
        }
        let error = "web".parse::<NodeId>().unwrap_err().to_string();
        assert!(error.starts_with("\"web\" is no node id"), "{error}");
    }

    #[test]
    fn absence_takes_no_room() {
        assert_eq!(size_of::<Option<AllocId>>(), 16);
        assert!(AllocId::default().is_nil());
    }

    #[test]
    fn names_of_tests_are_readable_and_other_ids_short() {
        assert_eq!(AllocId::named("a1").label(), "a1");
        assert_eq!(NodeId::parse(TEXT).unwrap().label(), "7ab3c2ff");
        assert_eq!(AllocId::default().label(), "00000000");
    }

    #[test]
    fn a_prefix_may_leave_its_hyphens_out() {
        let id = NodeId::parse(TEXT).unwrap();
        for prefix in ["", "7", "7ab3c2ff-", "7ab3c2ff-1", "7ab3c2ff1111", TEXT] {
            assert!(
                NodeId::with_prefix(prefix).unwrap().contains(&id),
                "{prefix}"
            );
        }
        assert!(!NodeId::with_prefix("7ab4").unwrap().contains(&id));
        for bad in ["x", "7-", "7ab3c2ff--"] {
            assert!(NodeId::with_prefix(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_json_and_order_agree(a: u128, b: u128) {
            let ids = [a, b].map(|number| Id::<NodeKind>::from_bytes(number.to_be_bytes()));
            let [Some(a), Some(b)] = ids else { return Ok(()) };
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            prop_assert_eq!(NodeId::parse(&a.to_string()), Some(a));
            let json = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<NodeId>(&json).unwrap(), a);
        }
    }
}
