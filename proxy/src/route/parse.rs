//! The route language: text to definitions.

use super::definition::{
    Add, Command, Definition, Delete, Destination, Options, Source, Traits, Weigh, Weight,
};
use super::problem::{Fault, Origin, Problem};

/// Reads route-language text. A line that cannot be used is reported with its number; all other
/// lines are returned.
pub fn parse(text: &str) -> (Vec<Definition>, Vec<Problem>) {
    parse_from(text, Origin::Line)
}

/// [`parse`] for a text of which `origin` says where its lines were written.
pub fn parse_from(text: &str, origin: impl Fn(usize) -> Origin) -> (Vec<Definition>, Vec<Problem>) {
    let mut definitions = Vec::new();
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        let origin = origin(number);
        match command(line) {
            Ok(command) => definitions.push(Definition { origin, command }),
            Err(fault) => problems.push(Problem { origin, fault }),
        }
    }
    (definitions, problems)
}

/// A word of a line; a quoted one may hold white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Plain(&'a str),
    Quoted(&'a str),
}

impl<'a> Token<'a> {
    fn plain(self) -> Option<&'a str> {
        match self {
            Token::Plain(text) => Some(text),
            Token::Quoted(_) => None,
        }
    }

    fn is(self, keyword: &str) -> bool {
        self == Token::Plain(keyword)
    }
}

fn command(line: &str) -> Result<Command, Fault> {
    let tokens = tokens(line);
    let rest = match tokens.as_slice() {
        [first, second, rest @ ..] if first.is("route") => {
            let name = second.plain().ok_or(Fault::UnknownCommand)?;
            (name, rest)
        }
        _ => return Err(Fault::UnknownCommand),
    };
    match rest {
        ("add", rest) => add(rest).map(|add| Command::Add(Box::new(add))),
        ("del", rest) => delete(rest).map(Command::Delete),
        ("weight", rest) => weigh(rest).map(Command::Weigh),
        _ => Err(Fault::UnknownCommand),
    }
}

/// Splits at white space. A word that begins with a quote runs to the next quote; without one it is
/// a plain word, which no command accepts where a quoted one belongs.
fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let quoted = rest
            .strip_prefix('"')
            .and_then(|inner| inner.split_once('"'));
        if let Some((inside, after)) = quoted
            && (after.is_empty() || after.starts_with(char::is_whitespace))
        {
            tokens.push(Token::Quoted(inside));
            rest = after.trim_start();
        } else {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            tokens.push(Token::Plain(word));
            rest = after.trim_start();
        }
    }
    tokens
}

/// `SVC SRC DST [weight W] [tags "a,b"] [opts "k=v k2=v2"]`
fn add(tokens: &[Token<'_>]) -> Result<Add, Fault> {
    let invalid = Fault::InvalidShape { command: "add" };
    let [
        Token::Plain(service),
        Token::Plain(source),
        Token::Plain(destination),
        rest @ ..,
    ] = tokens
    else {
        return Err(invalid);
    };
    if service.contains('"') {
        return Err(invalid);
    }
    let (weight, rest) = clause_weight(rest)?;
    let (tags, rest) = clause_quoted(rest, "tags");
    let (options, rest) = clause_quoted(rest, "opts");
    if !rest.is_empty() {
        return Err(invalid);
    }
    let options = Options::parse(options.unwrap_or_default().split_whitespace())?;
    let destination = match options.redirect.clone() {
        Some((status, None)) => Destination::redirect(status, destination)?,
        Some((_, Some(url))) => return Err(Fault::InvalidRedirect { text: url }),
        None => Destination::parse(destination)?,
    };
    Ok(Add {
        service: (*service).to_owned(),
        instance: String::new(),
        source: Source::parse(source)?,
        destination,
        weight: weight.flatten(),
        tags: split_tags(tags.unwrap_or_default()),
        options,
        traits: Traits::default(),
    })
}

/// `SVC [SRC [DST]]`, `SVC tags "a,b"` or `tags "a,b"`
fn delete(tokens: &[Token<'_>]) -> Result<Delete, Fault> {
    let empty = Delete {
        service: None,
        source: None,
        destination: None,
        tags: Vec::new(),
    };
    match tokens {
        [tags, Token::Quoted(list)] if tags.is("tags") => {
            let tags = split_tags(list);
            // Without a single tag this would delete every route there is.
            if tags.is_empty() {
                Err(Fault::InvalidShape { command: "del" })
            } else {
                Ok(Delete { tags, ..empty })
            }
        }
        [Token::Plain(service), tags, Token::Quoted(list)] if tags.is("tags") => Ok(Delete {
            service: Some((*service).to_owned()),
            tags: split_tags(list),
            ..empty
        }),
        [Token::Plain(service), rest @ ..]
            if rest.len() <= 2 && rest.iter().all(|token| token.plain().is_some()) =>
        {
            let mut plain = rest.iter().filter_map(|token| token.plain());
            Ok(Delete {
                service: Some((*service).to_owned()),
                source: plain.next().map(Source::parse).transpose()?,
                destination: plain.next().map(str::to_owned),
                ..empty
            })
        }
        _ => Err(Fault::InvalidShape { command: "del" }),
    }
}

/// `SVC SRC weight W [tags "a,b"]` or `SRC weight W tags "a,b"`
fn weigh(tokens: &[Token<'_>]) -> Result<Weigh, Fault> {
    let invalid = Fault::InvalidShape { command: "weight" };
    let (service, source, rest) = match tokens {
        [Token::Plain(source), keyword, rest @ ..] if keyword.is("weight") && rest.len() == 3 => {
            (None, source, rest)
        }
        [
            Token::Plain(service),
            Token::Plain(source),
            keyword,
            rest @ ..,
        ] if keyword.is("weight") => (Some((*service).to_owned()), source, rest),
        _ => return Err(invalid),
    };
    let [Token::Plain(weight), rest @ ..] = rest else {
        return Err(invalid);
    };
    let weight = Weight::parse(weight)?;
    let (tags, rest) = clause_quoted(rest, "tags");
    let tags = split_tags(tags.unwrap_or_default());
    if !rest.is_empty() || (service.is_none() && tags.is_empty()) {
        return Err(invalid);
    }
    Ok(Weigh {
        service,
        source: Source::parse(source)?,
        weight,
        tags,
    })
}

type Rest<'a, 'b> = &'b [Token<'a>];

fn clause_weight<'a, 'b>(
    tokens: Rest<'a, 'b>,
) -> Result<(Option<Option<Weight>>, Rest<'a, 'b>), Fault> {
    match tokens {
        [keyword, Token::Plain(weight), rest @ ..] if keyword.is("weight") => {
            Ok((Some(Weight::parse(weight)?), rest))
        }
        _ => Ok((None, tokens)),
    }
}

fn clause_quoted<'a, 'b>(tokens: Rest<'a, 'b>, name: &str) -> (Option<&'a str>, Rest<'a, 'b>) {
    match tokens {
        [keyword, Token::Quoted(text), rest @ ..] if keyword.is(name) => (Some(text), rest),
        _ => (None, tokens),
    }
}

/// Tags are separated by commas and trimmed; empty ones are dropped.
fn split_tags(list: &str) -> Vec<String> {
    list.split(',')
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}
