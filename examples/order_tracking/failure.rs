//! What becomes of errors: a status that says whose turn it is, and `{"error": ".."}`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use millpond::{Error, ErrorKind};
use serde_json::json;

/// A request that was not answered as it was meant.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            // A position that is none, a record that is too large.
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            // Another try may help: once it has caught up, once there is room on the disk, once it was started again.
            ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::Closed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            // Somebody has to look at this service. Its log says why; strangers need not know.
            kind => {
                tracing::error!(?kind, "{error}");
                let message = "an internal error; the log of the service says more".to_owned();
                return Self { status: StatusCode::INTERNAL_SERVER_ERROR, message };
            }
        };
        Self { status, message: error.to_string() }
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), message: rejection.body_text() }
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self { status: rejection.status(), message: rejection.body_text() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.message }));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            return (self.status, [(header::RETRY_AFTER, "1")], body).into_response();
        }
        (self.status, body).into_response()
    }
}
