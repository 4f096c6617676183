use super::Reason;
use std::{collections::BTreeMap, path::PathBuf};
use url::Url;

/// Where an artifact comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An address, options taken out.
    Http(String),
    /// A path of this machine.
    Path(PathBuf),
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
        let name = match self {
            Self::Http(text) => Url::parse(text).ok().and_then(|url| {
                let last = url.path_segments()?.next_back()?;
                let name = percent_encoding::percent_decode_str(last);
                Some(name.decode_utf8_lossy().into_owned())
            }),
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

/// Reads the address and the options of an artifact.
pub(super) fn parse(
    text: &str,
    given: &BTreeMap<String, String>,
) -> Result<(Origin, Options), Reason> {
    let mut options = Options::default();
    for (name, value) in given {
        if !options.set(name, value) {
            return Err(Reason::UnsupportedOption { name: name.clone() });
        }
    }
    if options
        .filename
        .as_deref()
        .is_some_and(|name| name.is_empty() || name == ".." || name == "." || name.contains('/'))
    {
        return Err(Reason::UnsupportedOption {
            name: "filename".into(),
        });
    }
    if text.starts_with('/') {
        return Ok((Origin::Path(text.into()), options));
    }
    if let Some((scheme, _)) = text.split_once("::") {
        return Err(Reason::Unsupported {
            scheme: scheme.to_owned(),
        });
    }
    if ["github.com/", "gitlab.com/", "bitbucket.org/", "git@"]
        .iter()
        .any(|host| text.starts_with(host))
    {
        return Err(Reason::Unsupported {
            scheme: "git".into(),
        });
    }
    let mut url = Url::parse(text).map_err(|_| Reason::NoAddress {
        text: text.to_owned(),
    })?;
    match url.scheme() {
        "http" | "https" => {}
        "file" => {
            let path = url.to_file_path().map_err(|()| Reason::NoAddress {
                text: text.to_owned(),
            })?;
            return Ok((Origin::Path(path), options));
        }
        scheme => {
            return Err(Reason::Unsupported {
                scheme: scheme.to_owned(),
            });
        }
    }
    let rest: Vec<(String, String)> = url
        .query_pairs()
        .into_owned()
        .filter(|(name, value)| !options.set(name, value))
        .collect();
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    Ok((Origin::Http(url.to_string()), options))
}
