//! Requests: paths, verbs, users and bodies.
//!
//! Owns what a URL means. It must never touch an object but through the store.

mod rights;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Faults;
use super::failure::Failure;
use super::resource::{ALL, Resource};
use super::select::Selector;
use super::store::{Key, Part, Store};
use super::watch::{Watch, events};

/// The largest body: what etcd takes.
const BODY: usize = 1536 << 10;

#[derive(Clone)]
struct Server {
    store: Arc<Store>,
    faults: Arc<Faults>,
}

/// What a path names.
#[derive(Debug)]
struct Target {
    resource: &'static Resource,
    namespace: Option<String>,
    name: Option<String>,
    part: Part,
}

/// A request on a target.
struct Request {
    target: Target,
    query: HashMap<String, String>,
    content_type: String,
    agent: String,
    body: Bytes,
}

pub(super) fn router(store: Arc<Store>, faults: Arc<Faults>) -> Router {
    Router::new()
        .fallback(answer)
        .with_state(Server { store, faults })
}

async fn answer(
    State(server): State<Server>,
    Query(query): Query<HashMap<String, String>>,
    request: http::Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY).await else {
        return failed(&Failure::BadRequest("the body is too long".to_owned()));
    };
    let answered = route(&server, &parts, query, body);
    answered.unwrap_or_else(|failure| failed(&failure))
}

fn route(
    server: &Server,
    parts: &Parts,
    query: HashMap<String, String>,
    body: Bytes,
) -> Result<Response, Failure> {
    let user = user(parts)?;
    let path: Vec<&str> = parts
        .uri
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    if let Some(found) = discover(&path) {
        return Ok(reply(StatusCode::OK, &found));
    }
    let Some(target) = target(&path) else {
        return Err(Failure::NotFound {
            resource: parts.uri.path().to_owned(),
            name: String::new(),
        });
    };
    let header = |name| {
        let value = parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let request = Request {
        target,
        query,
        content_type: header(CONTENT_TYPE),
        agent: header(USER_AGENT),
        body,
    };
    let verb = verb(&parts.method, &request)?;
    rights::check(server, user, verb, &request)?;
    match verb {
        "watch" => watch(server, &request),
        "list" => list(server, &request),
        "get" => request
            .target
            .get(&server.store)
            .map(|object| reply(StatusCode::OK, &object)),
        "create" => create(server, &request),
        _ => write(server, verb, &request),
    }
}

/// The bearer token is the user's name.
fn user(parts: &Parts) -> Result<&str, Failure> {
    let header = parts
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer "));
    token
        .filter(|token| !token.is_empty())
        .ok_or(Failure::Unauthorized)
}

fn verb(method: &Method, request: &Request) -> Result<&'static str, Failure> {
    let named = request.target.name.is_some();
    let watches = matches!(
        request.query.get("watch").map(String::as_str),
        Some("1" | "true")
    );
    match (method.as_str(), named) {
        ("GET", true) => Ok("get"),
        ("GET", false) if watches => Ok("watch"),
        ("GET", false) => Ok("list"),
        ("POST", false) => Ok("create"),
        ("PUT", true) => Ok("update"),
        ("PATCH", true) => Ok("patch"),
        ("DELETE", true) => Ok("delete"),
        _ => Err(Failure::MethodNotAllowed),
    }
}

fn target(path: &[&str]) -> Option<Target> {
    let (group, version, rest) = match path {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let (plural, name, part) = match rest {
        [plural] => (plural, None, Part::Main),
        [plural, name] => (plural, Some(*name), Part::Main),
        [plural, name, "status"] => (plural, Some(*name), Part::Status),
        _ => return None,
    };
    let resource = Resource::by_path(group, version, plural)?;
    let fits = match (namespace, name) {
        (Some(_), _) => resource.namespaced,
        (None, Some(_)) => !resource.namespaced,
        (None, None) => true,
    };
    (fits && (part == Part::Main || resource.has_status)).then(|| Target {
        resource,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        part,
    })
}

/// What clients ask before they ask for objects.
fn discover(path: &[&str]) -> Option<Value> {
    match path {
        ["version"] => Some(json!({"major": "1", "minor": "37", "gitVersion": "v1.37.0"})),
        ["livez" | "readyz" | "healthz"] => Some(json!("ok")),
        ["api", "v1"] => Some(resources("", "v1")),
        ["apis", group, version] => Some(resources(group, version)),
        _ => None,
    }
}

fn resources(group: &str, version: &str) -> Value {
    let served = ALL
        .iter()
        .filter(|resource| (resource.group, resource.version) == (group, version));
    let resources: Vec<Value> = served
        .map(|resource| {
            json!({"name": resource.plural, "kind": resource.kind, "singularName": "",
                   "namespaced": resource.namespaced, "verbs": ["get", "list", "watch"]})
        })
        .collect();
    let group_version = format!("{group}/{version}");
    json!({"kind": "APIResourceList", "apiVersion": "v1",
           "groupVersion": group_version.trim_start_matches('/'), "resources": resources})
}

impl Target {
    fn key(&self) -> Key {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        Key::new(
            self.resource,
            namespace,
            self.name.as_deref().unwrap_or_default(),
        )
    }

    fn get(&self, store: &Store) -> Result<Value, Failure> {
        let key = self.key();
        store.get(self.resource, &key.namespace, &key.name)
    }
}

impl Request {
    fn param(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn selector(&self) -> Result<Selector, Failure> {
        Selector::parse(
            self.target.namespace.clone(),
            self.param("labelSelector"),
            self.param("fieldSelector"),
        )
    }

    /// Who owns what is written: the field manager, or the first part of the client's name.
    fn manager(&self) -> &str {
        let agent = self.agent.split('/').next().unwrap_or_default();
        self.param("fieldManager").unwrap_or(agent)
    }

    fn object(&self) -> Result<Value, Failure> {
        let object: Value = serde_json::from_slice(&self.body)
            .map_err(|error| Failure::BadRequest(format!("the body is no JSON: {error}")))?;
        let resource = self.target.resource;
        for (field, expected) in [
            ("kind", resource.kind.to_owned()),
            ("apiVersion", resource.api_version()),
        ] {
            let found = object[field].as_str().unwrap_or_default();
            if !found.is_empty() && found != expected {
                return Err(Failure::BadRequest(format!(
                    "the {field} in the data ({found}) does not match the expected one ({expected})"
                )));
            }
        }
        self.refuse_other_place(&object["metadata"])?;
        Ok(object)
    }

    fn refuse_other_place(&self, metadata: &Value) -> Result<(), Failure> {
        for (field, expected) in [
            ("namespace", &self.target.namespace),
            ("name", &self.target.name),
        ] {
            let found = metadata[field].as_str().unwrap_or_default();
            if let Some(expected) = expected
                && !found.is_empty()
                && found != expected
            {
                return Err(Failure::BadRequest(format!(
                    "the {field} of the object ({found}) does not match the one on the URL \
                     ({expected})"
                )));
            }
        }
        Ok(())
    }
}

fn list(server: &Server, request: &Request) -> Result<Response, Failure> {
    let (objects, version) = server
        .store
        .list(request.target.resource, &request.selector()?);
    let number = |name| {
        request
            .param(name)
            .and_then(|value| value.parse::<usize>().ok())
    };
    let start = number("continue").unwrap_or_default();
    let limit = number("limit")
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let end = start.saturating_add(limit);
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if end < objects.len() {
        metadata["continue"] = end.to_string().into();
        metadata["remainingItemCount"] = (objects.len() - end).into();
    }
    let items: Vec<Value> = objects.into_iter().skip(start).take(limit).collect();
    let resource = request.target.resource;
    let list = json!({"kind": format!("{}List", resource.kind),
                      "apiVersion": resource.api_version(), "metadata": metadata, "items": items});
    Ok(reply(StatusCode::OK, &list))
}

fn watch(server: &Server, request: &Request) -> Result<Response, Failure> {
    let since = request.param("resourceVersion").unwrap_or("0");
    let since: u64 = since
        .parse()
        .map_err(|_| Failure::BadRequest(format!("invalid resource version {since:?}")))?;
    let is_set = |name| request.param(name) == Some("true");
    let stream = events(
        Arc::clone(&server.store),
        Watch {
            resource: request.target.resource,
            selector: request.selector()?,
            since: Some(since).filter(|since| *since > 0),
            bookmarks: is_set("allowWatchBookmarks"),
            marks_initial: is_set("sendInitialEvents"),
        },
    )?;
    let seconds = request
        .param("timeoutSeconds")
        .and_then(|seconds| seconds.parse().ok());
    let end = tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(1800)));
    let body = Body::from_stream(stream.take_until(end));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn create(server: &Server, request: &Request) -> Result<Response, Failure> {
    let target = &request.target;
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let object = request.object()?;
    let created = server
        .store
        .create(target.resource, namespace, object, request.manager())?;
    Ok(reply(StatusCode::CREATED, &created))
}

fn write(server: &Server, verb: &str, request: &Request) -> Result<Response, Failure> {
    let (store, target, key) = (&server.store, &request.target, request.target.key());
    let by = request.manager();
    let object = match verb {
        "update" => {
            let mut object = request.object()?;
            object["metadata"]["name"] = key.name.as_str().into();
            object["metadata"]["namespace"] = target.namespace.clone().into();
            store.replace(target.resource, target.part, &object, by)?
        }
        "delete" => {
            let options: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let seconds = request.param("gracePeriodSeconds").map(str::to_owned);
            let now = seconds.as_deref() == Some("0") || options["gracePeriodSeconds"] == 0;
            store.delete(target.resource, &key, now)?
        }
        _ => patch(server, request, &key)?,
    };
    Ok(reply(StatusCode::OK, &object))
}

fn patch(server: &Server, request: &Request, key: &Key) -> Result<Value, Failure> {
    let (store, target) = (&server.store, &request.target);
    let by = request.manager();
    match request.content_type.split(';').next().unwrap_or_default() {
        "application/merge-patch+json" => {
            let patch = request.object()?;
            store.merge(target.resource, key, target.part, &patch, by)
        }
        "application/apply-patch+yaml" => {
            let Some(manager) = request.param("fieldManager") else {
                let text = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: \
                            is required for apply patch";
                return Err(Failure::BadRequest(text.to_owned()));
            };
            let mut config = request.object()?;
            if config["apiVersion"].is_null() || config["kind"].is_null() {
                let text = "an apply needs apiVersion and kind";
                return Err(Failure::BadRequest(text.to_owned()));
            }
            config["metadata"]["name"] = key.name.as_str().into();
            let force = request.param("force") == Some("true");
            store.apply(target.resource, key, target.part, &config, manager, force)
        }
        _ => Err(Failure::UnsupportedMediaType(
            "application/merge-patch+json, application/apply-patch+yaml",
        )),
    }
}

fn reply(status: StatusCode, object: &Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, object.to_string()).into_response()
}

fn failed(failure: &Failure) -> Response {
    let (code, _) = failure.code();
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply(status, &failure.to_status())
}
