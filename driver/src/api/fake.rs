//! An API server in this process: answers what a test lets it answer, and remembers every request.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// How long a fact may take to show.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Asked {
    /// `POST /path`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What the server says to a request.
pub(crate) enum Answer {
    /// A status code and a body.
    Json(u16, Value),
    /// The server's own failure with this code.
    Failure(u16),
    /// A watch: one event a line, until the test ends.
    Watch(broadcast::Receiver<Value>),
}

type Answering = dyn FnMut(&Asked) -> Answer + Send;

/// The server.
#[derive(Clone)]
pub(crate) struct Fake {
    asked: Arc<Mutex<Vec<Asked>>>,
    answering: Arc<Mutex<Answering>>,
}

impl Fake {
    pub(crate) fn new(answering: impl FnMut(&Asked) -> Answer + Send + 'static) -> Self {
        Self {
            asked: Arc::default(),
            answering: Arc::new(Mutex::new(answering)),
        }
    }

    /// A client of this server.
    pub(crate) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.serve(request).await) }
        });
        Client::new(service, "default")
    }

    /// The requests so far that change something.
    pub(crate) fn writes(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.method != "GET")
            .cloned()
            .collect()
    }

    /// Waits until a fact holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&[Asked]) -> bool) {
        let shown = async {
            while !holds(&self.asked.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, shown).await;
        assert!(in_time.is_ok(), "{what}: {:#?}", self.asked.lock().unwrap());
    }

    async fn serve(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let content_type = head.headers.get("content-type");
        let asked = Asked {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            content_type: content_type
                .map_or("", |kind| kind.to_str().unwrap())
                .to_owned(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        };
        let answer = (self.answering.lock().unwrap())(&asked);
        self.asked.lock().unwrap().push(asked);
        let (code, body) = match answer {
            Answer::Json(code, value) => (code, value),
            Answer::Failure(code) => (code, failure(code)),
            Answer::Watch(events) => return watch(events),
        };
        let body = Body::from(serde_json::to_vec(&body).unwrap());
        Response::builder().status(code).body(body).unwrap()
    }
}

fn failure(code: u16) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": format!("the test says {code}"),
        "reason": "",
        "code": code,
    })
}

fn watch(events: broadcast::Receiver<Value>) -> Response<Body> {
    let lines = BroadcastStream::new(events).map(|event| {
        let line = format!("{}\n", event.unwrap());
        Ok::<_, Infallible>(line)
    });
    let never = stream::pending();
    Response::new(Body::from_stream(lines.chain(never)))
}
