//! The form of a manifest: what the API server and the scheduler make of it before the driver.
//!
//! A field that has another form than the API's is refused with its place: to pass over it would be
//! to call a manifest good which nobody understood.

use std::fmt;

use netclaim_core::{
    claim::{
        object::{DeviceConfig, Opaque, Source},
        offence::shown,
    },
    name::RequestName,
};
use serde_json::{Map, Value};

/// A field that has not the form that the API has there.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Where.
    pub(super) place: String,
    found: String,
    accepted: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            found, accepted, ..
        } = self;
        write!(
            f,
            "found {found}, accepted: {accepted}; correct the manifest"
        )
    }
}

impl Wrong {
    /// A value that is none of the `accepted`.
    pub(super) fn new(place: &str, found: &Value, accepted: &'static str) -> Self {
        let found = match found {
            Value::Null => "nothing".to_owned(),
            found => shown(found),
        };
        Self {
            place: place.to_owned(),
            found,
            accepted,
        }
    }
}

/// What stands under `devices` of a claim, or under `spec` of a class.
pub(super) struct Devices {
    pub(super) requests: Vec<Request>,
    pub(super) configs: Vec<DeviceConfig>,
}

/// A request, or one of its alternatives, as a claim asks for it.
pub(super) struct Request {
    /// `request`, or `request/subrequest`.
    pub(super) name: RequestName,
    pub(super) place: String,
    /// Which of the claim's requests: of alternatives, one is allocated.
    pub(super) at: usize,
    pub(super) several: bool,
    pub(super) admin_access: bool,
}

impl Devices {
    /// Reads the object at `pointer`, whose parts all have to be there.
    pub(super) fn read(object: &Value, pointer: &str, source: Source) -> Result<Self, Wrong> {
        let mut place = String::new();
        let mut value = object;
        for key in pointer.split('.') {
            place = join(&place, key);
            value = &value[key];
            fields(value, &place, "an object")?;
        }
        let configs = list(&value["config"], &join(&place, "config"))?;
        let requests = match source {
            Source::Class => Vec::new(),
            Source::Claim => requests(&value["requests"], &join(&place, "requests"))?,
        };
        Ok(Self {
            configs: configs
                .map(|(place, config)| read_config(config, &place, source))
                .collect::<Result<_, _>>()?,
            requests,
        })
    }
}

/// The form of `DeviceConfig`, for which the driver waits with the source that the scheduler adds.
fn read_config(config: &Value, place: &str, source: Source) -> Result<DeviceConfig, Wrong> {
    fields(config, place, "an object")?;
    let names = list(&config["requests"], &join(place, "requests"))?;
    let requests = names.map(|(place, name)| {
        let text = name.as_str().map(str::to_owned);
        text.ok_or_else(|| Wrong::new(&place, name, "the name of a request"))
    });
    Ok(DeviceConfig {
        source,
        requests: requests.collect::<Result<_, _>>()?,
        opaque: match &config["opaque"] {
            Value::Null => None,
            opaque => Some(read_opaque(opaque, &join(place, "opaque"))?),
        },
    })
}

fn read_opaque(opaque: &Value, place: &str) -> Result<Opaque, Wrong> {
    fields(opaque, place, "an object of driver, parameters")?;
    let driver = &opaque["driver"];
    let text = driver.as_str().map(str::to_owned);
    Ok(Opaque {
        driver: text
            .ok_or_else(|| Wrong::new(&join(place, "driver"), driver, "the name of a driver"))?,
        parameters: opaque["parameters"].clone(),
    })
}

/// `v1` says `exactly` or `firstAvailable`; `v1beta1` says the former's fields at once.
fn requests(value: &Value, place: &str) -> Result<Vec<Request>, Wrong> {
    let mut found = Vec::new();
    for (at, (place, request)) in list(value, place)?.enumerate() {
        fields(request, &place, "an object")?;
        if request["firstAvailable"].is_null() {
            let exactly = match &request["exactly"] {
                Value::Null => request,
                exactly => exactly,
            };
            fields(exactly, &join(&place, "exactly"), "an object")?;
            let name = request_name(&request["name"], &place, None)?;
            found.push(Request::new(name, place, at, exactly));
            continue;
        }
        for (sub, asked) in list(&request["firstAvailable"], &join(&place, "firstAvailable"))? {
            fields(asked, &sub, "an object")?;
            let own = request_name(&asked["name"], &sub, Some(&request["name"]))?;
            found.push(Request::new(own, sub, at, asked));
        }
    }
    Ok(found)
}

fn request_name(own: &Value, place: &str, of: Option<&Value>) -> Result<RequestName, Wrong> {
    let text = match of {
        Some(of) => of
            .as_str()
            .zip(own.as_str())
            .map(|(of, own)| format!("{of}/{own}")),
        None => own.as_str().map(str::to_owned),
    };
    let name = text.and_then(|text| RequestName::parse(text).ok());
    name.ok_or_else(|| {
        let accepted = "a name of 1 to 63 characters of a-z 0-9 -";
        Wrong::new(&join(place, "name"), own, accepted)
    })
}

impl Request {
    fn new(name: RequestName, place: String, at: usize, asked: &Value) -> Self {
        Self {
            name,
            place,
            at,
            several: asked["count"].as_u64().is_some_and(|count| count > 1)
                || asked["allocationMode"] == "All",
            admin_access: asked["adminAccess"] == true,
        }
    }
}

fn fields<'a>(
    value: &'a Value,
    place: &str,
    accepted: &'static str,
) -> Result<&'a Map<String, Value>, Wrong> {
    let object = value.as_object();
    object.ok_or_else(|| Wrong::new(place, value, accepted))
}

/// The items with their places; nothing is an empty list, as it is to the API server.
fn list<'a>(
    value: &'a Value,
    place: &str,
) -> Result<impl Iterator<Item = (String, &'a Value)> + use<'a>, Wrong> {
    let items = match value {
        Value::Null => &[][..],
        Value::Array(items) => items,
        other => return Err(Wrong::new(place, other, "a list")),
    };
    let place = place.to_owned();
    let items = items.iter().enumerate();
    Ok(items.map(move |(at, item)| (format!("{place}[{at}]"), item)))
}

fn join(place: &str, key: &str) -> String {
    match place {
        "" => key.to_owned(),
        place => format!("{place}.{key}"),
    }
}
