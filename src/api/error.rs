//! Any failure to a status and a line of plain text.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jobs::control::launch::LaunchError;
use std::borrow::Cow;

use server::{self, KeyringError, log::propose::ProposeError, state::Rejected};

/// On its way through agents an answer says by this header that there was no leader to give it; no
/// client sees it.
pub(crate) const NO_LEADER: HeaderName = HeaderName::from_static("x-trivet-no-leader");
/// The published text of that.
const NO_LEADER_TEXT: &str = "No cluster leader";

/// A refusal: a status and a plain text, as the compatible clients expect it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    status: StatusCode,
    message: Cow<'static, str>,
}

impl Error {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The status.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// 400
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404 with one of the published texts, some of which clients compare.
    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 405
    pub(crate) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Invalid method")
    }

    /// 400: a switch that is neither on nor off.
    pub(crate) fn no_switch(name: &str, value: &str) -> Self {
        Self::bad_request(format!(
            "Failed to parse value of {name:?} ({value:?}) as a bool: true or false is expected"
        ))
    }

    /// 500
    pub(crate) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 500: nobody leads the servers.
    pub(crate) fn no_leader() -> Self {
        Self::internal(NO_LEADER_TEXT)
    }

    /// 503: `what` is too much at the moment.
    pub(crate) fn busy(what: &str) -> Self {
        let message = format!("{what}; try again later");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// 501: known to clients, not built here.
    pub(crate) fn absent(what: &str) -> Self {
        let message = format!("{what} is not part of this version of trivet");
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let lacks_leader = self.message == NO_LEADER_TEXT;
        let mut response = (self.status, content_type, self.message).into_response();
        if lacks_leader {
            let yes = HeaderValue::from_static("1");
            response.headers_mut().insert(NO_LEADER, yes);
        }
        response
    }
}

impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader => Self::no_leader(),
            ProposeError::Busy => Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
            ProposeError::TooLong { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            ProposeError::Stopped
            | ProposeError::Timeout { .. }
            | ProposeError::Storage { .. }
            | ProposeError::Version { .. }
            | ProposeError::Rules(_)
            | ProposeError::Encoding => Self::internal(error.to_string()),
        }
    }
}

impl From<Rejected> for Error {
    fn from(rejected: Rejected) -> Self {
        let status = match &rejected {
            Rejected::Jobs(rejected) => jobs_status(rejected),
            Rejected::Mesh(mesh::state::Rejected::IndexMismatch { .. }) => StatusCode::CONFLICT,
            Rejected::Mesh(mesh::state::Rejected::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Rejected::Mesh(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, rejected.to_string())
    }
}

/// Rules that a job or a deployment breaks are 500 in the original, and clients know no other.
fn jobs_status(rejected: &jobs::state::Rejected) -> StatusCode {
    use jobs::state::Rejected;
    match rejected {
        Rejected::NoJob
        | Rejected::NoVersion
        | Rejected::NoNode
        | Rejected::NoAlloc
        | Rejected::NoDeployment
        | Rejected::NoVariable
        | Rejected::NoRootKey => StatusCode::NOT_FOUND,
        Rejected::VariableChanged { .. }
        | Rejected::VariableLocked
        | Rejected::NoLock
        | Rejected::RolloutMoved { .. } => StatusCode::CONFLICT,
        Rejected::ScalingBlocked
        | Rejected::NoGroup { .. }
        | Rejected::Count { .. }
        | Rejected::BelowMinimum { .. }
        | Rejected::AboveMaximum { .. }
        | Rejected::NoCanaries { .. }
        | Rejected::WhichGroup
        | Rejected::NoStep
        | Rejected::FirstStep
        | Rejected::TooManyTags => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<KeyringError> for Error {
    fn from(error: KeyringError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<LaunchError> for Error {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::NoJob | LaunchError::NoParameterized => Self::not_found(error.to_string()),
            LaunchError::NotPeriodic
            | LaunchError::Resting { .. }
            | LaunchError::NotParameterized { .. }
            | LaunchError::Stopped { .. }
            | LaunchError::Unsuitable(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<server::Error> for Error {
    fn from(error: server::Error) -> Self {
        match error {
            server::Error::Rejected(rejected) => rejected.into(),
            server::Error::Propose(error) => error.into(),
            server::Error::Keyring(error) => error.into(),
            server::Error::Launch(error) => error.into(),
            server::Error::Authority(error) => Self::internal(error.to_string()),
        }
    }
}
