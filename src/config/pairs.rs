//! Settings in one line: `value;key=value;key="a,b",value;…`, as ingresses are told their
//! listeners.

/// One item: keys with their values in order; the first value may stand without a key.
pub(super) type Item = Vec<(String, String)>;

/// Splits items at commas and pairs at semicolons; quotes, single or double, protect both. Within
/// quotes a backslash takes the next character as it is. Empty items and pairs are left out.
pub(super) fn items(text: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut item = Item::new();
    let mut pair = String::new();
    let mut key: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    let finish = |item: &mut Item, key: &mut Option<String>, pair: &mut String| {
        let value = std::mem::take(pair);
        match key.take() {
            Some(key) => item.push((key.trim().to_owned(), value)),
            None if value.trim().is_empty() => {}
            None => item.push((String::new(), value.trim().to_owned())),
        }
    };
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => pair.extend(characters.next()),
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => pair.push(character),
            (None, '"' | '\'') => quote = Some(character),
            (None, '=') if key.is_none() => key = Some(std::mem::take(&mut pair)),
            (None, ';') => finish(&mut item, &mut key, &mut pair),
            (None, ',') => {
                finish(&mut item, &mut key, &mut pair);
                if !item.is_empty() {
                    items.push(std::mem::take(&mut item));
                }
            }
            (None, _) => pair.push(character),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a {open} is not closed in `{text}`"));
    }
    finish(&mut item, &mut key, &mut pair);
    if !item.is_empty() {
        items.push(item);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::items;

    /// Items as `key=value` words.
    fn read(text: &str) -> String {
        let items = items(text).unwrap();
        let item = |item: &super::Item| {
            let pairs: Vec<String> = item.iter().map(|(k, v)| format!("{k}={v}")).collect();
            pairs.join(" ; ")
        };
        items.iter().map(item).collect::<Vec<_>>().join(" , ")
    }

    #[test]
    fn items_and_pairs_are_told_apart() {
        for (text, expected) in [
            ("", ""),
            (":9999", "=:9999"),
            (
                ":9999;proto=https;cs=a, :1;proto=tcp",
                "=:9999 ; proto=https ; cs=a , =:1 ; proto=tcp",
            ),
            ("cs = a;cert=x=y", "cs= a ; cert=x=y"),
            (r#"a;c="x,y;z";d='q"q'"#, r#"=a ; c=x,y;z ; d=q"q"#),
            (r#"a="x\"y""#, r#"a=x"y"#),
            (",;,a;;b=,", "=a ; b="),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert!(items("a=\"b").is_err());
    }
}
