//! `/metrics` over HTTP, beside the health of the instance.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Router,
    extract::ConnectInfo,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Metrics, plain};
use crate::{
    health::{self, Health},
    observe::{NodeView, Reader},
};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/metrics`, `/healthz` and `/readyz` until `stop`.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    view: Arc<NodeView>,
    health: Arc<Health>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .layer(Extension(metrics))
        .layer(Extension(view))
        .merge(health::router(health));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// One scrape. Each scraper, known by its address, has peaks of its own.
async fn scrape(
    Extension(metrics): Extension<Arc<Metrics>>,
    Extension(view): Extension<Arc<NodeView>>,
    ConnectInfo(scraper): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let snapshot = view.snapshot(&Reader::Scraper(scraper.ip()));
    let Ok(text) = metrics.scrape(snapshot) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if wants_openmetrics(&headers) {
        ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response()
    } else {
        ([(header::CONTENT_TYPE, PLAIN)], plain(&text)).into_response()
    }
}

fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).into_iter();
    accepts
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/openmetrics-text"))
}

#[cfg(test)]
mod tests;
