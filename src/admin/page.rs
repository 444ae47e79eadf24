//! The page at `GET /`: compiled-in files that display the API and call it for every move.
//!
//! The files hold no secret, so they need no token. Each call to the API carries the token that the user typed.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Loads nothing from elsewhere, runs nothing inline, allows no frames (CSP Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files by path, with their types.
const FILES: [(&str, &str, &str); 10] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/page/main.js", SCRIPT, include_str!("page/main.js")),
    ("/page/api.js", SCRIPT, include_str!("page/api.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/words.js", SCRIPT, include_str!("page/words.js")),
    ("/page/chart.js", SCRIPT, include_str!("page/chart.js")),
    ("/page/view.js", SCRIPT, include_str!("page/view.js")),
    ("/page/actions.js", SCRIPT, include_str!("page/actions.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|(file, _, _)| *file == path)
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, (path, kind, text)| router.route(path, get(async || file(kind, text))))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_holds_nothing_inline_or_from_elsewhere() {
        let all: usize = FILES.iter().map(|(_, _, text)| text.len()).sum();
        assert!(all <= 60 << 10, "{all} bytes");
        for (path, _, text) in FILES {
            for forbidden in ["http://", "https://", "<style", " style=", "javascript:", "innerHTML", " onclick="] {
                let allowed = forbidden == "http://"
                    && text.matches("http://").count() == text.matches("http://www.w3.org/").count();
                assert!(allowed || !text.contains(forbidden), "{path} has {forbidden}");
            }
        }
    }
}
