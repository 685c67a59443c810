//! Reading one's own writes over HTTP: the header `Millpond-Position`.
//!
//! An answer to a write carries the position of what was appended. A request that carries it is answered once the tables
//! include everything below it; whoever has several may send them all.

use crate::api::App;
use crate::failure::Failure;
use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use millpond::Position;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const HEADER: HeaderName = HeaderName::from_static("millpond-position");

/// Nobody waits longer for a fold that is behind, or for a position that was made up: the answer is 503 then.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// An argument of handlers that read: when they run, the tables include the position of the request, if it has one.
pub(crate) struct ReadYourWrites;

impl FromRequestParts<Arc<App>> for ReadYourWrites {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let mut wanted = Position::new();
        for value in parts.headers.get_all(HEADER) {
            let text = value.to_str().map_err(|_| Failure::bad_request(format!("{HEADER} is no text")))?;
            wanted.advance_to(&text.parse()?);
        }
        if !wanted.is_empty() {
            app.engine.wait_for(&wanted).within(LONGEST_WAIT).await?;
        }
        Ok(Self)
    }
}
