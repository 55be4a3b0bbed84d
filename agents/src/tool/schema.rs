//! Schemas of arguments: derived for Rust types, checked for tools that bring their own.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

/// How deep a given schema is followed. Deeper ones are checked by whoever gave them.
const DEPTH: usize = 32;

/// The schema of a type as one self-contained object, which is what every provider takes.
pub fn of<A: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<A>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
        // A type without fields has no properties to speak of, and some providers want the word.
        object.entry("type").or_insert_with(|| "object".into());
        object.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    }
    schema
}

/// Checks arguments against a given schema: types, required members, enumerations, and members that
/// are not allowed. What else a schema may say is left to the tool itself.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    at("the arguments", schema, value, DEPTH)
}

fn at(place: &str, schema: &Value, value: &Value, depth: usize) -> Result<(), String> {
    let Some(schema) = schema.as_object().filter(|_| depth > 0) else { return Ok(()) };
    if let Some(types) = schema.get("type") {
        let fits = match types {
            Value::String(name) => is(name, value),
            Value::Array(names) => {
                names.iter().filter_map(Value::as_str).any(|name| is(name, value))
            }
            _ => true,
        };
        if !fits {
            return Err(format!("{place} must be of type {types}"));
        }
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        return Err(format!("{place} must be one of {}", Value::Array(allowed.clone())));
    }
    match value {
        Value::Object(object) => members(place, schema, object, depth),
        Value::Array(items) => match schema.get("items") {
            Some(of) => items.iter().enumerate().try_for_each(|(index, item)| {
                at(&format!("{place}[{index}]"), of, item, depth - 1)
            }),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn members(
    place: &str,
    schema: &Map<String, Value>,
    object: &Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            return Err(format!("{place} must have {name:?}"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, value) in object {
        match properties.and_then(|properties| properties.get(name)) {
            Some(of) => at(name, of, value, depth - 1)?,
            None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                return Err(format!("{place} must not have {name:?}"));
            }
            None => {}
        }
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_given_schema_is_checked_where_it_is_about_shape() {
        let schema = json!({
            "type": "object",
            "required": ["city"],
            "additionalProperties": false,
            "properties": {
                "city": { "type": "string" },
                "unit": { "enum": ["C", "F"] },
                "days": { "type": "array", "items": { "type": "integer" } },
            }
        });
        for (value, complaint) in [
            (json!({ "city": "Ulm", "days": [1, 2.0] }), None),
            (json!({}), Some("must have \"city\"")),
            (json!({ "city": 7 }), Some("city must be of type \"string\"")),
            (json!({ "city": "Ulm", "unit": "K" }), Some("unit must be one of")),
            (json!({ "city": "Ulm", "days": [1, "2"] }), Some("days[1] must be of type")),
            (json!({ "city": "Ulm", "to": "eve" }), Some("must not have \"to\"")),
            (json!([]), Some("must be of type \"object\"")),
        ] {
            match (check(&schema, &value), complaint) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.contains(part), "{error}"),
                (found, expected) => panic!("{value}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn the_schema_of_a_type_stands_alone() {
        /// Where to look.
        #[derive(serde::Deserialize, JsonSchema)]
        #[expect(dead_code, reason = "only its schema is wanted")]
        struct Place {
            /// The name of a town.
            city: String,
            unit: Option<Unit>,
        }
        #[derive(serde::Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        enum Unit {
            Celsius,
            Kelvin,
        }
        let schema = of::<Place>();
        assert_eq!(schema["properties"]["city"]["description"], "The name of a town.");
        assert_eq!(schema["required"], json!(["city"]));
        assert!(!schema.to_string().contains("$ref"), "{schema}");
        assert!(schema.to_string().contains("kelvin"));
    }
}
