//! Names of versions.

use axum::{http::Method, response::Response};
use jobs::{
    model::{JobKey, VersionTag},
    wire,
};

use crate::{Api, body::Raw, error::Error, nomad::query::Query};
use server::Tagging;

/// Bytes of the longest name.
const NAME_BYTES_MAX: usize = 256;
/// Characters of a description that are too many.
const DESCRIPTION_LETTERS: usize = 1000;

/// Takes `ID/versions/NAME/tag` apart; the id may hold `/` itself.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    let (id, name) = path.strip_suffix("/tag")?.rsplit_once("/versions/")?;
    (!id.is_empty() && !name.is_empty()).then_some((id, name))
}

/// `PUT` and `DELETE /v1/job/:id/versions/:name/tag`
pub(super) async fn change(
    api: &Api,
    query: &Query,
    key: JobKey,
    name: &str,
    method: &Method,
    body: &Raw,
) -> Result<Response, Error> {
    if *method == Method::DELETE {
        let written = api.server().untag_version(&key, name).await?;
        let response = wire::JobTagResponse {
            index: written.index,
            known_leader: api.knows_leader(),
            ..wire::JobTagResponse::default()
        };
        return query.written(written.index, &response);
    }
    if *method != Method::PUT && *method != Method::POST {
        return Err(Error::method());
    }
    let request: wire::TagVersionRequest = body.json()?;
    check(name, &request)?;
    let tagging = Tagging {
        name: name.to_owned(),
        description: request.description,
        version: (!request.latest).then_some(request.version),
    };
    let (written, tag) = api.server().tag_version(&key, tagging).await?;
    let VersionTag {
        name,
        description,
        tagged_time,
    } = tag;
    let response = wire::JobTagResponse {
        name,
        description,
        tagged_time,
        index: written.index,
        last_contact: 0,
        known_leader: api.knows_leader(),
    };
    query.written(written.index, &response)
}

fn check(name: &str, request: &wire::TagVersionRequest) -> Result<(), Error> {
    if request.latest && request.version > 0 {
        return Err(Error::internal(format!(
            "version must be zero when tagging latest, got: {}",
            request.version
        )));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::bad_request(format!(
            "the name of a version may have at most {NAME_BYTES_MAX} bytes"
        )));
    }
    let letters = request.description.chars().count();
    if letters >= DESCRIPTION_LETTERS {
        return Err(Error::bad_request(format!(
            "Tagged version description must be under {DESCRIPTION_LETTERS} characters, currently {letters}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_named_behind_the_versions_of_its_job() {
        assert_eq!(split("web/versions/v1/tag"), Some(("web", "v1")));
        assert_eq!(
            split("a/versions/b/versions/v 1/tag"),
            Some(("a/versions/b", "v 1"))
        );
        assert_eq!(split("web/versions/tag"), None);
        assert_eq!(split("web/versions//tag"), None);
        assert_eq!(split("web/tag"), None);
    }
}
