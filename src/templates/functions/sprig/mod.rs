//! The functions whose names begin with `sprig_`: those of a well-known set that give the same for
//! the same arguments. They take no time, no chance and nothing of the machine.
//!
//! Those that a function of the usual names does as well stand with that one.
//!
//! Source: Sprig's documentation. Differs: lengths and places in texts are counted in letters, not
//! in bytes, and a map does not change in place.

mod encoding;
mod kind;
mod list;
mod map;
mod number;
mod text;

use super::{add, failed};
use gotmpl::{FuncMap, Value};

/// Functions of the set that are known and refused, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("sprig_set", IN_PLACE),
    ("sprig_unset", IN_PLACE),
    ("sprig_ago", TIME),
    ("sprig_duration", TIME),
    ("sprig_durationRound", TIME),
    ("sprig_toDate", TIME),
    ("sprig_mustToDate", TIME),
    ("sprig_must_date_modify", TIME),
    ("sprig_mustDateModify", TIME),
    ("sprig_unixEpoch", TIME),
    ("sprig_randInt", CHANCE),
    ("sprig_shuffle", CHANCE),
    ("sprig_bcrypt", CHANCE),
    ("sprig_htpasswd", CHANCE),
    ("sprig_genPrivateKey", CHANCE),
    ("sprig_genCA", CHANCE),
    ("sprig_genCAWithKey", CHANCE),
    ("sprig_genSelfSignedCert", CHANCE),
    ("sprig_genSelfSignedCertWithKey", CHANCE),
    ("sprig_genSignedCert", CHANCE),
    ("sprig_genSignedCertWithKey", CHANCE),
    ("sprig_encryptAES", CHANCE),
    ("sprig_decryptAES", SECRET),
    ("sprig_derivePassword", SECRET),
    ("sprig_buildCustomCert", SECRET),
    ("sprig_semver", ABSENT),
    ("sprig_semverCompare", ABSENT),
    ("sprig_urlParse", ABSENT),
    ("sprig_urlJoin", ABSENT),
];
const IN_PLACE: &str = "a map does not change in place; write `$d = sprig_mergeOverwrite $d (sprig_dict …)` or \
     `$d = sprig_omit $d \"key\"`";
const TIME: &str = "the time of a rendering is told by `timestamp` alone";
const CHANCE: &str = "templates give the same for the same; keep what is made up in a variable and read it by nomadVar";
const SECRET: &str = "templates derive no secrets; keep them in a variable and read it by nomadVar";
const ABSENT: &str = "it is not among the functions that are kept";

pub(super) fn add_all(map: &mut FuncMap) {
    text::add_all(map);
    number::add_all(map);
    list::add_all(map);
    map::add_all(map);
    kind::add_all(map);
    encoding::add_all(map);
    for (name, reason) in REFUSED {
        add(map, name, 0..=usize::MAX, move |_| Err(failed(*reason)));
    }
}

/// A list, or what else there is as the only item of one; nothing for nil.
fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::List(items) => items.to_vec(),
        Value::Nil => Vec::new(),
        other => vec![other.clone()],
    }
}
