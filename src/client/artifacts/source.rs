use super::{
    Reason,
    git::Repository,
    s3::{self, Keys},
    straight,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use url::Url;

/// Where an artifact comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An address, options taken out.
    Http(String),
    /// A path of this machine.
    Path(PathBuf),
    /// A git repository.
    Git(Repository),
    /// An object of a store, and what its request is signed with.
    S3(Url, Keys),
}

/// What can be said about an artifact as an option or in the query of its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) checksum: Option<String>,
    pub(super) archive: Option<String>,
    pub(super) filename: Option<String>,
}

impl Options {
    /// Takes the option; false when there is none of that name.
    fn set(&mut self, name: &str, value: &str) -> bool {
        let place = match name {
            "checksum" => &mut self.checksum,
            "archive" => &mut self.archive,
            "filename" => &mut self.filename,
            _ => return false,
        };
        *place = Some(value.to_owned());
        true
    }
}

impl Origin {
    /// The last part of the path.
    pub(super) fn file_name(&self) -> String {
        let last = |url: &Url| {
            let last = url.path_segments()?.next_back()?;
            let name = percent_encoding::percent_decode_str(last);
            Some(name.decode_utf8_lossy().into_owned())
        };
        let name = match self {
            Self::Http(text) => Url::parse(text).ok().as_ref().and_then(last),
            Self::S3(url, _) => last(url),
            Self::Git(_) => None,
            Self::Path(path) => path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        };
        // Decoded, the last part may hold separators again.
        name.and_then(|name| Some(name.rsplit('/').next()?.to_owned()))
            .filter(|name| !matches!(name.as_str(), "" | "." | ".."))
            .unwrap_or_else(|| "artifact".to_owned())
    }
}

/// Options that some kinds of origin have, by name, until the origin takes them.
type Rest = BTreeMap<String, String>;

/// Reads the address and the options of an artifact.
pub(super) fn parse(
    text: &str,
    given: &BTreeMap<String, String>,
) -> Result<(Origin, Options), Reason> {
    let mut options = Options::default();
    let mut rest = Rest::new();
    for (name, value) in given {
        if !options.set(name, value) {
            rest.insert(name.clone(), value.clone());
        }
    }
    let origin = origin(text, &mut options, &mut rest)?;
    let is_no_name = |name: &str| matches!(name, "" | "." | "..") || name.contains('/');
    if options.filename.as_deref().is_some_and(is_no_name) {
        return Err(Reason::UnsupportedOption {
            name: "filename".into(),
        });
    }
    match rest.into_keys().next() {
        Some(name) => Err(Reason::UnsupportedOption { name }),
        None => Ok((origin, options)),
    }
}

fn origin(text: &str, options: &mut Options, rest: &mut Rest) -> Result<Origin, Reason> {
    if text.starts_with('/') {
        return Ok(Origin::Path(text.into()));
    }
    match text.split_once("::") {
        None => {}
        Some(("git", address)) => return repository(address, options, rest),
        Some(("s3", address)) => return object(address, options, rest),
        Some((scheme, _)) => {
            return Err(Reason::Unsupported {
                scheme: scheme.to_owned(),
            });
        }
    }
    if text.starts_with("git@") {
        return repository(text, options, rest);
    }
    if let Some(address) = hosted(text) {
        return repository(&address, options, rest);
    }
    let host = text.split('/').next().unwrap_or_default();
    if s3::is_own_host(host) {
        return object(&format!("https://{text}"), options, rest);
    }
    let mut url = address(text)?;
    match url.scheme() {
        "http" | "https" => {}
        "file" => {
            let path = url.to_file_path().map_err(|()| no_address(text))?;
            return Ok(Origin::Path(path));
        }
        scheme => {
            return Err(Reason::Unsupported {
                scheme: scheme.to_owned(),
            });
        }
    }
    let others: Vec<(String, String)> = url
        .query_pairs()
        .into_owned()
        .filter(|(name, value)| !options.set(name, value))
        .collect();
    url.set_query(None);
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
    Ok(Origin::Http(url.to_string()))
}

fn address(text: &str) -> Result<Url, Reason> {
    Url::parse(text).map_err(|_| no_address(text))
}

fn no_address(text: &str) -> Reason {
    Reason::NoAddress {
        text: text.to_owned(),
    }
}

/// Takes the options that stand in a query; those of the origin itself are in `rest` then.
fn take_query(query: &str, options: &mut Options, rest: &mut Rest) {
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
        if !options.set(&name, &value) {
            rest.insert(name, value);
        }
    }
}

/// `REPOSITORY[//DIRECTORY][?OPTIONS]`.
fn repository(text: &str, options: &mut Options, rest: &mut Rest) -> Result<Origin, Reason> {
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    take_query(query, options, rest);
    let (scheme, place) = base.split_once("://").unwrap_or(("", base));
    // Without a scheme it is `USER@HOST:PATH`.
    let is_known = matches!(scheme, "http" | "https" | "ssh" | "git");
    if !is_known && (!scheme.is_empty() || !place.contains(':') || place.starts_with('-')) {
        return Err(no_address(text));
    }
    let (place, inside) = place.split_once("//").unwrap_or((place, ""));
    let escapes = || Reason::Escapes {
        dest: inside.to_owned(),
    };
    let inside = straight(Path::new(inside)).ok_or_else(escapes)?;
    if options.checksum.is_some() {
        return Err(Reason::UnsupportedOption {
            name: "checksum".into(),
        });
    }
    let mut take = |name: &str| rest.remove(name).filter(|value| !value.is_empty());
    // One commit is enough for its files.
    take("depth");
    options.archive = Some("tar".into());
    Ok(Origin::Git(Repository {
        url: match scheme {
            "" => place.to_owned(),
            scheme => format!("{scheme}://{place}"),
        },
        inside: inside.to_string_lossy().into_owned(),
        reference: take("ref"),
        key: take("sshkey"),
    }))
}

/// `HOST/OWNER/REPOSITORY[/DIRECTORY]` of a public host, as the address of a repository.
fn hosted(text: &str) -> Option<String> {
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let (host, path) = base.split_once('/')?;
    if !matches!(host, "github.com" | "gitlab.com" | "bitbucket.org") {
        return None;
    }
    let (path, selected) = path.split_once("//").unwrap_or((path, ""));
    let mut parts = path.splitn(3, '/');
    let (owner, name) = (parts.next()?, parts.next()?);
    let name = name.strip_suffix(".git").unwrap_or(name);
    let inside = [parts.next().unwrap_or_default(), selected];
    let inside: Vec<&str> = inside.into_iter().filter(|part| !part.is_empty()).collect();
    let mut address = format!("https://{host}/{owner}/{name}.git");
    for (mark, part) in [("//", inside.join("/").as_str()), ("?", query)] {
        if !part.is_empty() {
            address.push_str(mark);
            address.push_str(part);
        }
    }
    Some(address)
}

/// The address of one object, with keys among its options.
fn object(text: &str, options: &mut Options, rest: &mut Rest) -> Result<Origin, Reason> {
    let mut url = address(text)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(no_address(text));
    }
    take_query(url.query().unwrap_or_default(), options, rest);
    url.set_query(None);
    let mut take = |name: &str| rest.remove(name).filter(|value| !value.is_empty());
    let keys = Keys {
        id: take("aws_access_key_id"),
        secret: take("aws_access_key_secret"),
        token: take("aws_access_token"),
        region: take("region"),
    };
    Ok(Origin::S3(url, keys))
}
