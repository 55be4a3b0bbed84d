//! What a server offers, as an assistant may use it.

use super::{name, result, server::Server};
use crate::config::{McpServer, McpUse};
use frontdesk_agents::{
    HandlerError,
    tool::{CallEffect, Dynamic, Readying, Tool, ToolContext, ToolOutput, ToolSource, ToolSpec},
    turn::prompt::visible,
};
use rmcp::{
    model::{CallToolRequestParams, CallToolResponse, ErrorCode, RequestMetaObject},
    service::ServiceError,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a call waits for a server that is being connected to.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a description that a model is told.
const DESCRIPTION_MAX: usize = 2_000;
/// Octets of a schema. A tool with a larger one is not offered.
const SCHEMA_MAX: usize = 32 * 1024;
/// Where a call carries its idempotency key, for servers that honour it.
const KEY: &str = "frontdesk/idempotencyKey";

/// The tools of a server, by its own names for them.
pub(super) struct List {
    pub tools: BTreeMap<String, Listed>,
}

/// One of them, as far as the server is believed.
pub(super) struct Listed {
    pub description: String,
    pub schema: Value,
    pub effect: CallEffect,
}

impl List {
    /// What is usable of what a server says it has. Of two tools of a name the first counts.
    pub fn new(config: &McpServer, offered: Vec<rmcp::model::Tool>) -> Self {
        let mut tools = BTreeMap::new();
        for tool in offered {
            let name = tool.name.to_string();
            let mut schema = tool.schema_as_json_value();
            clean(&mut schema);
            if let Some(object) = schema.as_object_mut() {
                object.entry("type").or_insert_with(|| "object".into());
                object.entry("properties").or_insert_with(|| json!({}));
            }
            let fits = schema["type"] == "object" && schema.to_string().len() <= SCHEMA_MAX;
            if name.is_empty() || !fits {
                tracing::warn!(
                    server = config.name,
                    "a tool whose name or schema is no use is left out"
                );
                continue;
            }
            let mut description = visible(tool.description.as_deref().unwrap_or_default());
            description.truncate(description.floor_char_boundary(DESCRIPTION_MAX));
            let effect = effect(config, &name, tool.annotations.as_ref());
            tools.entry(name).or_insert(Listed { description, schema, effect });
        }
        Self { tools }
    }
}

/// What calls do: as the operator says, else as the server says if it is believed, else the worst.
fn effect(
    config: &McpServer,
    tool: &str,
    said: Option<&rmcp::model::ToolAnnotations>,
) -> CallEffect {
    if let Some(effect) = config.effects.get(tool) {
        return *effect;
    }
    match said.filter(|_| config.trust_annotations) {
        Some(said) if said.read_only_hint == Some(true) => CallEffect::Read,
        Some(said) if said.destructive_hint == Some(false) => CallEffect::Reversible,
        _ => CallEffect::Final,
    }
}

/// Takes out of all texts of a schema what only a program would read.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = visible(text),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(members) => members.values_mut().for_each(clean),
        _ => {}
    }
}

/// The tools of a server that one assistant may use.
pub(super) struct Offer {
    server: Arc<Server>,
    uses: McpUse,
    /// Made from the list that stands beside them.
    made: Mutex<Option<(Arc<List>, ByName)>>,
}

type ByName = Arc<BTreeMap<String, Arc<dyn Tool>>>;

impl Offer {
    pub fn new(server: Arc<Server>, uses: McpUse) -> Self {
        Self { server, uses, made: Mutex::default() }
    }

    /// By the names models know them by. `None` while the server has never said what it has.
    fn by_name(&self) -> Option<ByName> {
        let list = self.server.list()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, tools)) = &*made
            && Arc::ptr_eq(of, &list)
        {
            return Some(tools.clone());
        }
        let allowed = list.tools.iter().filter(|(name, _)| self.uses.allows(name));
        let tools: ByName = Arc::new(
            allowed
                .map(|(name, listed)| {
                    let tool = self.tool_of(name, listed);
                    (tool.spec().name.clone(), tool)
                })
                .collect(),
        );
        *made = Some((list, tools.clone()));
        Some(tools)
    }

    fn tool_of(&self, remote: &str, listed: &Listed) -> Arc<dyn Tool> {
        let config = &self.server.config;
        let mut spec = ToolSpec::new(
            name::for_model(&config.name, remote),
            listed.description.as_str(),
            listed.effect,
            listed.schema.clone(),
        );
        spec.foreign = !config.trust_results;
        spec.timeout = config.timeouts.get(remote).copied().unwrap_or(config.timeout);
        spec.approval = self.uses.approval_of(remote);
        if let Some(least) = config.least_trust.get(remote) {
            spec.least_trust = *least;
        }
        let (server, remote) = (self.server.clone(), remote.to_owned());
        Arc::new(Dynamic::new(spec, move |arguments, cx| {
            call(server.clone(), remote.clone(), arguments, cx)
        }))
    }

    /// Stands for whatever a name may mean while that is not known. It is held like the worst, and fails with
    /// the reason why the server is not there.
    fn unknown(&self, name: &str) -> Arc<dyn Tool> {
        let spec = ToolSpec::new(name, "", CallEffect::Final, json!({ "type": "object" }));
        let (server, name) = (self.server.clone(), name.to_owned());
        Arc::new(Dynamic::new(spec, move |_, _| {
            let (server, name) = (server.clone(), name.clone());
            async move {
                Ok(match server.up(PATIENCE).await {
                    // It came back between the look and the call, and nobody approved what it may be now.
                    Ok(_) => ToolOutput::not_made(format!(
                        "The call was not made: {name} was not there. Try again."
                    )),
                    Err(why) => not_there(&server, &why),
                })
            }
        }))
    }
}

impl ToolSource for Offer {
    fn ready(&self, patience: Duration) -> Readying<'_> {
        Box::pin(async move {
            // Why not is said by the server's log and by its calls.
            let _ = self.server.up(patience).await;
        })
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.by_name().map(|tools| tools.values().cloned().collect()).unwrap_or_default()
    }

    fn tool(&self, name: &str) -> Option<Arc<dyn Tool>> {
        match self.by_name() {
            Some(tools) => tools.get(name).cloned(),
            None => name::could_be(&self.server.config.name, name).then(|| self.unknown(name)),
        }
    }
}

fn not_there(server: &Server, why: &str) -> ToolOutput {
    ToolOutput::not_made(format!(
        "The call was not made: the server {} cannot be used now: {why}.",
        server.config.name
    ))
}

/// Has the server looked at unless the call came to an end.
struct GivenUp<'a>(Option<&'a Server>);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some(server) = self.0 {
            server.suspect();
        }
    }
}

/// Makes a call. An error means that nobody knows what the server did; what is known comes as an output. The
/// words of the server are foreign and stand in outputs only. Given up, the server is told so.
async fn call(
    server: Arc<Server>,
    remote: String,
    arguments: Value,
    cx: ToolContext,
) -> Result<ToolOutput, HandlerError> {
    let peer = match server.up(PATIENCE).await {
        Ok(peer) => peer,
        Err(why) => return Ok(not_there(&server, &why)),
    };
    let mut params = CallToolRequestParams::new(remote);
    if let Value::Object(arguments) = arguments {
        params = params.with_arguments(arguments);
    }
    let mut meta = RequestMetaObject::new();
    meta.insert(KEY.to_owned(), cx.idempotency_key.into());
    params.meta = Some(meta);

    let mut given_up = GivenUp(Some(&server));
    let answer = peer.call_tool_once(params).await;
    let name = &server.config.name;
    let answer = match answer {
        Err(ServiceError::McpError(error)) => Err(error),
        Err(_) => {
            return Err(format!("the server {name} ended the connection during the call").into());
        }
        Ok(answer) => Ok(answer),
    };
    given_up.0 = None;
    match answer {
        Ok(CallToolResponse::Complete(result)) => {
            let text = result::text(&result);
            let failed = result.is_error == Some(true);
            Ok(if failed { ToolOutput::failed(text) } else { ToolOutput::text(text) })
        }
        Ok(_) => Err(format!("the server {name} wants something else before it answers").into()),
        Err(error) if is_refusal(error.code) => Ok(ToolOutput::failed(error.message.to_string())),
        Err(error) => {
            Err(format!("the server {name} failed with the code {}", error.code.0).into())
        }
    }
}

/// Whether an error says that the call was not made.
fn is_refusal(code: ErrorCode) -> bool {
    [
        ErrorCode::INVALID_PARAMS,
        ErrorCode::METHOD_NOT_FOUND,
        ErrorCode::INVALID_REQUEST,
        ErrorCode::PARSE_ERROR,
    ]
    .contains(&code)
}
