//! The served OpenAPI document: adds facts that can't be derived, in one place for all operations.

use serde_json::{Map, Value, json};
use utoipa::PartialSchema;
use utoipa::openapi::OpenApi;

use crate::admin::api::{HealthEvent, HeldEvent, LaggedEvent, ReloadedEvent};
use crate::admin::handlers::{MAX_NUMBER, MAX_REASON};
use crate::domain::transition::Kind;

/// One line: no control character.
const ONE_LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// One line with at least one visible character.
const SOME_LINE: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
/// A percentage, with its sign.
const PERCENT: &str = r"^(100(\.00?)?|[1-9]?[0-9](\.[0-9]{1,2})?)%$";
/// 1s to 1day.
const DURATION: &str = r"^([1-9][0-9]{0,3}s|[1-9][0-9]{0,2}m( [1-5]?[0-9]s)?|([1-9]|1[0-9]|2[0-3])h( [1-5]?[0-9]m)?( [1-5]?[0-9]s)?|24h|1day|[1-9][0-9]{3,6}ms)$";
/// RFC 3339 in UTC, from 1970 on.
const TIME: &str = r"^(19[7-9][0-9]|[2-9][0-9]{3})-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z$";

const NEEDED: [(&str, &str); 2] = [("/admin/freeze", "post"), ("/admin/colors/{color}", "put")];

pub(super) fn whole(derived: &OpenApi) -> Value {
    let mut document = serde_json::to_value(derived).unwrap_or_default();
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        for (name, schema) in schemas.iter_mut().filter(|(name, _)| name.ends_with("Body")) {
            body(name, schema);
        }
        schemas.insert("Percent".to_owned(), percent());
        let small = [
            ("HeldEvent", serde_json::to_value(HeldEvent::schema())),
            ("HealthEvent", serde_json::to_value(HealthEvent::schema())),
            ("ReloadedEvent", serde_json::to_value(ReloadedEvent::schema())),
            ("LaggedEvent", serde_json::to_value(LaggedEvent::schema())),
        ];
        for (name, schema) in small {
            schemas.insert(name.to_owned(), schema.unwrap_or_default());
        }
        schemas.insert("Event".to_owned(), event());
    }
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        for (path, item) in paths {
            let Some(operations) = item.as_object_mut() else { continue };
            for (method, operation) in operations {
                complete(path, method, operation);
            }
        }
    }
    document
}

fn complete(path: &str, method: &str, operation: &mut Value) {
    let problem = |description: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        json!({ "description": description, "content": { "application/problem+json": { "schema": schema } } })
    };
    let has_body = operation.get("requestBody").is_some();
    // Traffic and canaries share the names of these operations.
    if path.starts_with("/admin/canary")
        && let Some(Value::String(id)) = operation.get_mut("operationId")
    {
        *id = format!("canary_{id}");
    }
    let summary = operation.get("summary").and_then(Value::as_str).unwrap_or("Done").to_owned();
    for (status, response) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(response) = response.as_object_mut().filter(|response| !response.contains_key("description")) {
            let description = if status.starts_with('2') { summary.as_str() } else { "An error" };
            response.insert("description".to_owned(), description.into());
        }
    }
    if let Some(required) = operation.pointer_mut("/requestBody/required") {
        *required = NEEDED.contains(&(path, method)).into();
    }
    if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
        parameters.iter_mut().for_each(parameter);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let mut add = |status: &str, description: &str| {
        responses.entry(status).or_insert_with(|| problem(description));
    };
    add("401", "`unauthorized`: `admin.tokens` is set, and none of them was sent");
    add("403", "`forbidden`, `cross_origin`");
    add("503", "`stopping`");
    if has_body {
        add("408", "`timeout`: the body did not come in time");
        add("413", "`too_large`");
    }
    if path == "/admin/events"
        && let Some(content) = responses.get_mut("200").and_then(|answer| answer.get_mut("content"))
    {
        *content = json!({ "text/event-stream": { "schema": { "$ref": "#/components/schemas/Event" } } });
    }
}

fn body(name: &str, schema: &mut Value) {
    if name == "FreezeBody"
        && let Some(schema) = schema.as_object_mut()
    {
        schema.insert("required".to_owned(), json!(["reason"]));
    }
    if name == "StageBody"
        && let Some(schema) = schema.as_object_mut()
    {
        schema.insert("required".to_owned(), json!(["release", "endpoints"]));
    }
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (key, property) in properties {
        let Some(property) = property.as_object_mut() else { continue };
        let needed = (name, key.as_str()) == ("FreezeBody", "reason");
        match key.as_str() {
            "reason" => {
                property.insert("pattern".to_owned(), if needed { SOME_LINE } else { ONE_LINE }.into());
                property.insert("maxLength".to_owned(), MAX_REASON.into());
            }
            "release" => {
                property.insert("pattern".to_owned(), SOME_LINE.into());
                property.insert("maxLength".to_owned(), 200.into());
            }
            "barrier" => one_of(property, &["none", "applied", "first-write"]),
            "to" => one_of(property, &["blue", "green"]),
            "overlap" => one_of(property, &["allow", "none"]),
            "wait" => one_of(property, &["none", "drained"]),
            "mode" => one_of(property, &["enforce", "observe", "off"]),
            "on_insufficient" => one_of(property, &["hold", "advance", "abort"]),
            "timeout" | "dwell" | "max_step" => drop(property.insert("pattern".to_owned(), DURATION.into())),
            "until" => drop(property.insert("pattern".to_owned(), TIME.into())),
            "sink" => drop(property.insert("pattern".to_owned(), "^[A-Za-z0-9_-]{1,40}$".into())),
            "if_generation" => number(property),
            _ => {}
        }
    }
}

fn parameter(parameter: &mut Value) {
    let Some(parameter) = parameter.as_object_mut() else { return };
    let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if parameter.get("in").and_then(Value::as_str) != Some("path") {
        parameter.insert("required".to_owned(), false.into());
    }
    let Some(schema) = parameter.get_mut("schema").and_then(Value::as_object_mut) else { return };
    // A parameter without a value is left out: a URL and a header have no null.
    if let Some(Value::Array(kinds)) = schema.get("type").cloned()
        && let Some(kind) = kinds.into_iter().find(|kind| kind != "null")
    {
        schema.insert("type".to_owned(), kind);
    }
    match name.as_str() {
        "limit" => {
            schema.insert("minimum".to_owned(), 1.into());
            schema.insert("maximum".to_owned(), 1_000.into());
        }
        "before" | "Last-Event-ID" => {
            schema.insert("type".to_owned(), "integer".into());
            number(schema);
        }
        "since" => drop(schema.insert("pattern".to_owned(), TIME.into())),
        "kind" => {
            let kinds = Kind::NAMES.iter().filter(|(kind, _)| kind.shown()).map(|(_, name)| *name);
            let any = kinds.collect::<Vec<_>>().join("|");
            schema.insert("pattern".to_owned(), format!("^({any})?(,({any})?)*$").into());
        }
        "color" => drop(schema.insert("enum".to_owned(), json!(["blue", "green"]))),
        "id" => drop(schema.insert("pattern".to_owned(), "^dep-[0-9]{1,18}$".into())),
        _ => {}
    }
}

fn number(schema: &mut Map<String, Value>) {
    schema.remove("format");
    schema.insert("minimum".to_owned(), 0.into());
    schema.insert("maximum".to_owned(), MAX_NUMBER.into());
}

fn one_of(property: &mut Map<String, Value>, names: &[&str]) {
    let mut values: Vec<Value> = names.iter().map(|name| (*name).into()).collect();
    values.push(Value::Null);
    property.insert("enum".to_owned(), values.into());
}

fn percent() -> Value {
    json!({
        "description": "A share of the requests: `\"5%\"`, or a number in percent, to hundredths.",
        "oneOf": [
            { "type": "number", "minimum": 0, "maximum": 100, "multipleOf": 0.01 },
            { "type": "string", "pattern": PERCENT },
        ],
    })
}

fn event() -> Value {
    let named = |name: &str, data: &str, numbered: bool| {
        let mut properties = Map::new();
        if numbered {
            let description =
                "The number of the transition, for `Last-Event-ID`; without it the line is not on disk yet.";
            properties.insert("id".to_owned(), json!({ "type": "integer", "minimum": 1, "description": description }));
        }
        properties.insert("event".to_owned(), json!({ "const": name }));
        properties.insert("data".to_owned(), json!({ "$ref": format!("#/components/schemas/{data}") }));
        json!({ "type": "object", "required": ["event", "data"], "properties": properties })
    };
    json!({
        "description": "One event of `GET /admin/events`; on the wire `data` is a line of JSON.",
        "oneOf": [
            named("transition", "TransitionAnswer", true),
            named("drained", "DrainedAnswer", false),
            named("hold", "HeldEvent", false),
            named("health", "HealthEvent", false),
            named("reloaded", "ReloadedEvent", false),
            named("numbers", "PointAnswer", false),
            named("status", "StatusAnswer", false),
            named("lagged", "LaggedEvent", false),
        ],
    })
}
