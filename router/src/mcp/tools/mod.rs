//! The tools, by what they are about.
//!
//! Each has one reason to exist, and what one answers is what the next one takes. Names of arguments are those
//! of the API wherever it has them.

mod deciding;
mod drafts;
mod files;
mod finding;
mod planned;
mod reading;
mod sending;

use super::{
    marked::{NOTICE, word},
    tool::Tool,
};
use serde_json::{Value, json};

/// Every tool.
pub fn all() -> Vec<Tool> {
    [
        finding::tools(),
        reading::tools(),
        files::tools(),
        drafts::tools(),
        sending::tools(),
        deciding::tools(),
        planned::tools(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Items of a page, unless asked for another number: models pay for what they read.
const PAGE: u32 = 20;
/// Items of a page at most.
const PAGE_MAX: u32 = 100;

/// `limit` of the API.
fn limit(asked: Option<u32>) -> Option<String> {
    Some(asked.unwrap_or(PAGE).clamp(1, PAGE_MAX).to_string())
}

/// The words of a list: the notice, a stretch for each item, and how to go on.
fn listed(page: &Value, none: &str, mut item: impl FnMut(&mut String, &Value)) -> String {
    let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return none.to_owned();
    }
    let mut text = format!("{NOTICE}\n");
    for one in items {
        item(&mut text, one);
    }
    if page["next"].is_string() {
        text.push_str(&format!("There are more: pass {:?} as cursor.\n", word(page, "next")));
    }
    text
}

/// The data of a list.
fn page(page: &Value, item: impl Fn(&Value) -> Value) -> Value {
    let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    json!({
        "notice": NOTICE,
        "items": items.iter().map(item).collect::<Vec<_>>(),
        "next": page["next"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::tool::Does;
    use std::collections::BTreeSet;

    #[test]
    fn every_tool_says_what_it_is_for_and_every_argument_what_it_means() {
        let tools = all();
        let names: BTreeSet<_> = tools.iter().map(|tool| tool.about.name).collect();
        assert_eq!(names.len(), tools.len(), "names are unique");
        for tool in &tools {
            let name = tool.about.name;
            assert!(tool.about.what.len() > 40 && tool.about.what.ends_with('.'), "{name}");
            let schema = tool.described.schema_as_json_value();
            assert_eq!(schema["type"], "object", "{name}");
            assert_eq!(
                schema["additionalProperties"], false,
                "{name}: a misnamed argument is told"
            );
            for (argument, of) in schema["properties"].as_object().into_iter().flatten() {
                assert!(of["description"].is_string(), "{name}: {argument} has no description");
            }
            let hints = tool.described.annotations.clone().unwrap_or_default();
            assert_eq!(hints.read_only_hint, Some(tool.about.does == Does::Reads), "{name}");
        }
    }
}
