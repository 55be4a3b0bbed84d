//! Errors of the API: `application/problem+json` (RFC 9457), from one place.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use frontdesk_agents::StoreError;
use serde_json::json;

/// An error with its status and words.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    /// The request cannot be understood; the text says what would be.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail: detail.into() }
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail: detail.into() }
    }

    /// Something failed that the caller cannot mend.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "an API request failed");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, detail: error.to_string() }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::NotFound(_) => StatusCode::NOT_FOUND,
            StoreError::Conflict(_) => StatusCode::CONFLICT,
            StoreError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            StoreError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            _ => return Self::internal(error),
        };
        Self { status, detail: error.to_string() }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(format!("{error:#}"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body))
            .into_response()
    }
}
