//! The OpenAPI 3.1 document, made of the declarations.

use serde_json::{Map, Value, json};

use crate::param::Place;
use crate::route::{Access, Declared};

/// The document of a service.
pub(crate) fn document(title: &str, version: &str, routes: &[Declared]) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for route in routes {
        for (name, schema) in &route.bodies.schemas {
            // A schema is data that serialises; null would only be seen by a reader of the document.
            schemas.insert(name.clone(), serde_json::to_value(schema).unwrap_or(Value::Null));
        }
        let path = paths.entry(route.declaration.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.declaration.method.name().to_ascii_lowercase(), operation(route));
        }
    }
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": title, "version": version,
            "description": "Refusals are problem documents (RFC 9457). Every answer has the header X-Request-Id.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"ticket": {
                "type": "http", "scheme": "bearer",
                "description": "A ticket of POST /v1/login, or an API token where the service accepts tokens.",
            }},
        },
    })
}

fn operation(route: &Declared) -> Value {
    let (declaration, bodies) = (&route.declaration, &route.bodies);
    let parameters: Vec<Value> = declaration
        .parameters
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "in": if parameter.place == Place::Path { "path" } else { "query" },
                "required": parameter.place != Place::Query,
                "description": parameter.text,
                "schema": parameter.form.schema(),
            })
        })
        .collect();
    let content = |media_type: Option<&str>, schema: Option<&Value>| {
        media_type
            .map(|media_type| json!({media_type: {"schema": schema.cloned().unwrap_or_else(|| json!({}))}}))
    };
    let mut answer =
        json!({"description": if bodies.streams { "events, until the caller ends it" } else { "done" }});
    if let Some(content) = content(bodies.answer_type, bodies.answer_schema.as_ref()) {
        answer["content"] = content;
    }
    let refused = json!({
        "description": "refused",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let mut responses = Map::new();
    responses.insert(bodies.answer_status.as_str().to_owned(), answer);
    responses.insert("default".to_owned(), refused);
    let mut operation = json!({
        "operationId": operation_id(declaration.method.name(), declaration.path),
        "summary": declaration.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(content) = content(bodies.request_type, bodies.request_schema.as_ref()) {
        operation["requestBody"] = json!({"required": !bodies.request_is_optional, "content": content});
    }
    match declaration.access {
        Access::Roles(roles, _) => {
            operation["description"] = json!(format!("Roles, one of which is needed: {roles}."));
            operation["security"] = json!([{"ticket": []}]);
        }
        Access::Everybody(why) => {
            operation["description"] = json!(format!("Open to everybody: {why}."));
            operation["security"] = json!([]);
        }
    }
    operation
}

/// `GET /v1/things/{id}` as `get_v1_things_id`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(['/', '{', '}', '-', '.']).filter(|word| !word.is_empty());
    words.fold(method.to_ascii_lowercase(), |id, word| id + "_" + word)
}

fn problem() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "description": "What, where, what is allowed and what to do (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": text, "title": text, "status": {"type": "integer"}, "detail": text, "instance": text,
            "where": text, "allowed": text, "hint": text,
        },
    })
}
