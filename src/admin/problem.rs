//! Errors on the wire: `application/problem+json` (RFC 9457) with a stable code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::admin::api::{ConfigProblem, Problem};
use crate::config::error::ConfigError;
use crate::control::handle::Stopping;
use crate::domain::rollout::Refusal;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = (status, Json(self)).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cutover\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::refused(&refusal)
    }
}

impl From<Stopping> for Problem {
    fn from(stopping: Stopping) -> Problem {
        Problem::new(503, "stopping", "The proxy is stopping", stopping.to_string())
    }
}

impl Problem {
    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(400, "bad_request", "The request can't be understood", detail)
    }

    pub(super) fn invalid_config(error: &ConfigError) -> Problem {
        let mut problem =
            Problem::new(422, "invalid_config", "The configuration file is not valid", error.render(false));
        problem.errors = error
            .diagnostics
            .iter()
            .map(|diagnostic| {
                let (line, column) = error.place(diagnostic);
                ConfigProblem { line, column, message: diagnostic.message.clone(), help: diagnostic.help.clone() }
            })
            .collect();
        problem
    }
}
