use super::{CallError, Result};

/// Bytes of the longest pattern.
const LONGEST: usize = 1024;

/// What matches paths as a pattern says: `*` and `?` within a name, `**` over folders, `[a-z]` and
/// `{a,b}`.
pub(super) fn glob(pattern: &str) -> Result<regex::Regex> {
    let invalid = || CallError::Argument(1, format!("failed to glob pattern ({pattern})"));
    if pattern.len() > LONGEST {
        return Err(invalid());
    }
    let mut text = String::from("^");
    let mut letters = pattern.chars().peekable();
    let mut open = 0_usize;
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.next_if_eq(&'*').is_some() => {
                // With its slash it stands for any number of folders, none too.
                text.push_str(if letters.next_if_eq(&'/').is_some() {
                    "(?:[^/]+/)*"
                } else {
                    ".*"
                });
            }
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' => {
                text.push('[');
                if letters.next_if(|c| matches!(c, '^' | '!')).is_some() {
                    text.push('^');
                }
                loop {
                    match letters.next().ok_or_else(invalid)? {
                        ']' => break,
                        '-' => text.push('-'),
                        '\\' => {
                            let letter = letters.next().ok_or_else(invalid)?;
                            text.push_str(&regex::escape(&letter.to_string()));
                        }
                        letter => text.push_str(&regex::escape(&letter.to_string())),
                    }
                }
                text.push(']');
            }
            '{' => {
                open += 1;
                text.push_str("(?:");
            }
            '}' if open > 0 => {
                open -= 1;
                text.push(')');
            }
            ',' if open > 0 => text.push('|'),
            '\\' => {
                if let Some(letter) = letters.next() {
                    text.push_str(&regex::escape(&letter.to_string()));
                }
            }
            letter => text.push_str(&regex::escape(&letter.to_string())),
        }
    }
    text.push('$');
    regex::Regex::new(&text).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_folders() {
        let matching = |pattern: &str| {
            let glob = glob(pattern).unwrap();
            let paths = ["a.txt", "b.md", "x/a.txt", "x/y/c.txt", "x/y/[z]"];
            paths
                .into_iter()
                .filter(|path| glob.is_match(path))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(matching("*.txt"), "a.txt");
        assert_eq!(matching("**/*.txt"), "a.txt x/a.txt x/y/c.txt");
        assert_eq!(matching("x/**"), "x/a.txt x/y/c.txt x/y/[z]");
        assert_eq!(matching("?.{txt,md}"), "a.txt b.md");
        assert_eq!(matching("[^a].*"), "b.md");
        assert_eq!(matching("x/y/\\[z]"), "x/y/[z]");
        assert!(glob("[").is_err());
        assert!(glob("{a").is_err());
    }
}
