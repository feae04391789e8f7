//! The status page at `/` and its assets.
//!
//! Everything it needs comes from here; the browser may load nothing from elsewhere, to run
//! no inline script, and to let no other site frame the page.

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    response::IntoResponse,
    routing::get,
};

use super::ApiState;

/// `wasm-unsafe-eval` lets WebAssembly be compiled, nothing else. Trusted types: the browser
/// refuses a script that would turn text into markup, so that no error message of a dependency
/// can; `worker` names the script that all tabs share, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types worker";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const WASM: &str = "application/wasm";

/// The path of the page.
pub(super) const PATH: &str = "/";
/// The prefix of the paths of its assets.
pub(super) const PARTS: &str = "/page/";

macro_rules! part {
    ($name:literal, $kind:expr) => {
        (concat!("/page/", $name), $kind, include_bytes!(concat!("../../page/static/", $name)))
    };
}

macro_rules! built {
    ($name:literal, $kind:expr) => {
        // From the build script: what `cargo xtask page` built, or a placeholder that says so.
        (concat!("/page/", $name), $kind, include_bytes!(concat!(env!("OUT_DIR"), "/", $name)))
    };
}

/// Path, content type and bytes.
static FILES: [(&str, &str, &[u8]); 11] = [
    (PATH, HTML, include_bytes!("../../page/static/index.html")),
    part!("page.css", CSS),
    part!("page.js", JAVASCRIPT),
    part!("connection.js", JAVASCRIPT),
    part!("stream.js", JAVASCRIPT),
    part!("worker.js", JAVASCRIPT),
    part!("view.js", JAVASCRIPT),
    part!("chart.js", JAVASCRIPT),
    part!("icon.svg", SVG),
    built!("finality_page.js", JAVASCRIPT),
    built!("finality_page_bg.wasm", WASM),
];

pub(super) fn routes() -> Router<ApiState> {
    FILES.iter().fold(Router::new(), |router, (path, kind, bytes)| {
        router.route(path, get(async || file(kind, bytes)))
    })
}

fn file(kind: &'static str, bytes: &'static [u8]) -> impl IntoResponse {
    let header = |name: &'static str, value| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        header("content-security-policy", POLICY),
        header("x-content-type-options", "nosniff"),
        header("referrer-policy", "no-referrer"),
        header("cross-origin-resource-policy", "same-origin"),
    ];
    (headers, bytes)
}
