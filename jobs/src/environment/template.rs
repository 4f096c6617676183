/// Replaces every `${name}` that `lookup` knows.
pub(super) fn replace(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let value = after
            .split_once('}')
            .and_then(|(name, tail)| Some((lookup(name)?, tail)));
        if let Some((value, tail)) = value {
            out.push_str(&value);
            rest = tail;
        } else {
            out.push_str("${");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}
