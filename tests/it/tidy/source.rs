//! A Rust file as the paths that it names, read from its tokens: comments, texts and white space do
//! not matter, and grouped imports are taken apart however they nest.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::{
    collections::BTreeSet,
    path::{Component, Path},
};

/// Segments of a path, such as `["crate", "server", "Handle"]`; a glob ends before its star.
pub(super) type Segments = Vec<String>;

/// The path of the module that `file` holds below `src`, such as `["server", "log"]` for
/// `src/server/log/mod.rs`.
pub(super) fn module_of(file: &Path, src: &Path) -> Segments {
    let below = file.strip_prefix(src).expect("a file below the sources");
    let mut segments: Segments = below
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_string_lossy().trim_end_matches(".rs").to_owned(),
            other => panic!("{other:?} in {}", file.display()),
        })
        .collect();
    if segments
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        segments.pop();
    }
    segments
}

/// Every path of at least two segments that `text` names. Paths from `crate`, `self` and `super`
/// are made absolute and start with `crate`; all others are as written. `module` is where the text
/// stands.
pub(super) fn references(module: &[String], text: &str) -> BTreeSet<Segments> {
    let tokens: TokenStream = text.parse().expect("Rust");
    let mut found = BTreeSet::new();
    Reader {
        module: module.to_vec(),
        found: &mut found,
    }
    .scope(tokens);
    found
}

/// The tokens of one group and how far they were read.
struct Tokens {
    all: Vec<TokenTree>,
    at: usize,
}

impl Tokens {
    fn new(stream: TokenStream) -> Self {
        Self {
            all: stream.into_iter().collect(),
            at: 0,
        }
    }

    fn peek(&self, ahead: usize) -> Option<&TokenTree> {
        self.all.get(self.at + ahead)
    }

    fn next(&mut self) -> Option<TokenTree> {
        let token = self.all.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// True when `::` comes next.
    fn has_separator(&self) -> bool {
        let is_colon = |ahead| matches!(self.peek(ahead), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
        is_colon(0) && is_colon(1)
    }

    fn take_separator(&mut self) -> bool {
        let is_next = self.has_separator();
        if is_next {
            self.at += 2;
        }
        is_next
    }
}

struct Reader<'a> {
    module: Segments,
    found: &'a mut BTreeSet<Segments>,
}

impl Reader<'_> {
    fn scope(&mut self, tokens: TokenStream) {
        let mut tokens = Tokens::new(tokens);
        let mut before = String::new();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(ident) => {
                    let name = ident.to_string();
                    if before == "mod" {
                        self.inline_module(&name, &mut tokens);
                    } else if tokens.has_separator() {
                        self.path(vec![name.clone()], &mut tokens);
                    }
                    before = name;
                }
                TokenTree::Group(group) => {
                    self.scope(group.stream());
                    before.clear();
                }
                _ => before.clear(),
            }
        }
    }

    /// What stands in `mod name { … }`; its tests may name what they like.
    fn inline_module(&mut self, name: &str, tokens: &mut Tokens) {
        let Some(TokenTree::Group(group)) = tokens.peek(0).cloned() else {
            return;
        };
        tokens.next();
        if name == "tests" {
            return;
        }
        self.module.push(name.to_owned());
        self.scope(group.stream());
        self.module.pop();
    }

    /// The rest of a path that began with `segments`, and what follows a group of an import.
    fn path(&mut self, mut segments: Segments, tokens: &mut Tokens) {
        while tokens.take_separator() {
            match tokens.peek(0) {
                Some(TokenTree::Ident(ident)) => {
                    segments.push(ident.to_string());
                    tokens.next();
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let group = group.clone();
                    tokens.next();
                    self.group(&segments, &group);
                    return;
                }
                // A glob, or type arguments: the path so far is what is named.
                _ => break,
            }
        }
        self.name(segments);
    }

    fn group(&mut self, before: &Segments, group: &Group) {
        let mut tokens = Tokens::new(group.stream());
        while let Some(token) = tokens.next() {
            let mut segments = before.clone();
            match token {
                TokenTree::Ident(ident) if ident == "self" => self.name(segments),
                // The new name of what was imported under another.
                TokenTree::Ident(ident) if ident == "as" => {
                    tokens.next();
                }
                TokenTree::Ident(ident) => {
                    segments.push(ident.to_string());
                    self.path(segments, &mut tokens);
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => self.name(segments),
                _ => {}
            }
        }
    }

    fn name(&mut self, segments: Segments) {
        let Some(absolute) = self.absolute(segments) else {
            return;
        };
        if absolute.len() > 1 {
            self.found.insert(absolute);
        }
    }

    fn absolute(&self, segments: Segments) -> Option<Segments> {
        let first = segments.first()?;
        if !["self", "super"].contains(&first.as_str()) {
            return Some(segments);
        }
        let ups = segments.iter().filter(|name| *name == "super").count();
        let own = self.module.len().checked_sub(ups)?;
        let rest = segments
            .into_iter()
            .skip_while(|name| name == "self" || name == "super");
        let mut absolute = vec!["crate".to_owned()];
        absolute.extend(self.module.iter().take(own).cloned());
        absolute.extend(rest);
        Some(absolute)
    }
}

#[cfg(test)]
mod tests {
    use super::{module_of, references};
    use std::path::Path;

    fn check(module: &str, text: &str, wanted: &[&str]) {
        let module: Vec<String> = module
            .split("::")
            .filter(|segment| !segment.is_empty())
            .map(str::to_owned)
            .collect();
        let found: Vec<String> = references(&module, text)
            .iter()
            .map(|segments| segments.join("::"))
            .collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn a_module_is_named_by_its_file() {
        let name = |file: &str| module_of(Path::new(file), Path::new("src")).join("::");
        assert_eq!(name("src/server/log/mod.rs"), "server::log");
        assert_eq!(name("src/server/watch.rs"), "server::watch");
        assert_eq!(name("src/lib.rs"), "");
    }

    #[test]
    fn groups_are_taken_apart_past_their_first_inner_brace() {
        let text = "use crate::{\n    api::{self, read::{Page, Query as Asked}},\n    \
                    client::*, server,\n};";
        check(
            "agent",
            text,
            &[
                "crate::api",
                "crate::api::read::Page",
                "crate::api::read::Query",
                "crate::client",
                "crate::server",
            ],
        );
    }

    #[test]
    fn paths_count_wherever_they_stand() {
        check(
            "api",
            "fn f(x: &crate::server::Handle) -> Vec<jobs::model::Job> { warn!(\"{}\", crate::cli::x()) }",
            &["crate::cli::x", "crate::server::Handle", "jobs::model::Job"],
        );
    }

    #[test]
    fn ways_up_are_followed_to_the_root() {
        check(
            "server::log::raft",
            "use super::super::super::client::Handle;",
            &["crate::client::Handle"],
        );
        check(
            "server::log",
            "use super::{state::Command, Core};",
            &["crate::server::Core", "crate::server::state::Command"],
        );
        check(
            "server",
            "mod inner { use super::super::cli::x; }",
            &["crate::cli::x"],
        );
    }

    #[test]
    fn comments_texts_and_tests_do_not_count() {
        check(
            "cli",
            "// crate::server::x\nconst X: &str = \"crate::server::y\";\nmod tests { use crate::server::z; }",
            &[],
        );
    }
}
