//! What errors of providers mean.
//!
//! The sentences of an error are only searched for what they mean, never repeated: some servers quote the
//! request in them, some the key.

use super::word;
use crate::model::ErrorKind;
use serde_json::Value;
use std::time::Duration;

/// What an answer with another status than 200 means.
pub(in crate::model) fn classify(
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
) -> ErrorKind {
    Failure::read(body).kind(status, retry_after)
}

/// What an error inside an answer of status 200 means.
pub(in crate::model) fn in_stream(body: &[u8]) -> ErrorKind {
    let failure = Failure::read(body);
    let status = failure.status();
    failure.kind(status, None)
}

/// An error as providers write it.
struct Failure {
    /// Type and code, in lower case.
    words: Vec<String>,
    param: Option<String>,
    /// In lower case.
    message: String,
    code: Option<u16>,
    context: Option<u64>,
}

impl Failure {
    fn read(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        // `error` is an object or, of Ollama's own API, a string; vLLM had it all at the top; FastAPI has
        // `detail`.
        let error = body.get("error").unwrap_or(&body);
        let text = |value: &Value| value.as_str().map(str::to_lowercase);
        let message = text(error)
            .or_else(|| ["message", "detail"].iter().find_map(|at| text(&error[*at])))
            .unwrap_or_default();
        let words = [&error["type"], &error["code"]].into_iter().filter_map(text).collect();
        let code = error["code"].as_u64().or_else(|| error["code"].as_str()?.parse().ok());
        Self {
            words,
            param: error["param"].as_str().map(str::to_owned),
            code: code.and_then(|code| u16::try_from(code).ok()),
            context: error["n_ctx"].as_u64().or_else(|| context(&message)),
            message,
        }
    }

    fn is(&self, names: &[&str]) -> bool {
        self.words.iter().any(|word| names.contains(&word.as_str()))
    }

    fn says(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.message.contains(phrase))
    }

    /// The status the error would have had before the stream began.
    fn status(&self) -> u16 {
        if let Some(code) = self.code.filter(|code| (400..600).contains(code)) {
            return code;
        }
        let known: [(&[&str], u16); 9] = [
            (&["rate_limit_error", "rate_limit_exceeded"], 429),
            (&["overloaded_error", "overloaded"], 529),
            (&["authentication_error", "invalid_api_key"], 401),
            (&["permission_error"], 403),
            (&["not_found_error", "model_not_found"], 404),
            (&["request_too_large"], 413),
            (&["timeout_error"], 504),
            (&["invalid_request_error", "badrequesterror"], 400),
            (&["unavailable_error"], 503),
        ];
        known.iter().find(|(names, _)| self.is(names)).map_or(500, |(_, status)| *status)
    }

    fn kind(&self, status: u16, retry_after: Option<Duration>) -> ErrorKind {
        let too_long =
            self.is(&["context_length_exceeded", "exceed_context_size_error", "request_too_large"])
                || self.says(&[
                    "maximum context length",
                    "prompt is too long",
                    "exceeds the available context size",
                    "exceed context limit",
                    "exceeds the context window",
                    "context length exceeded",
                ]);
        if status == 413 || too_long && (400..600).contains(&status) {
            return ErrorKind::ContextTooLong { limit: self.context };
        }
        let broke = self.is(&["insufficient_quota", "billing_error", "billing_hard_limit_reached"])
            || self.says(&["credit balance is too low", "exceeded your current quota"]);
        if status == 402 || broke {
            return ErrorKind::NoCredit;
        }
        let filtered = self.is(&[
            "content_filter",
            "content_policy_violation",
            "responsibleaipolicyviolation",
        ]) || self.says(&["content management policy", "content filtering policy"]);
        if filtered && status < 500 {
            return ErrorKind::Refused;
        }
        match status {
            300..=399 => ErrorKind::Protocol { what: "it answers with a redirect" },
            // Google's compatible endpoint answers 400 to a wrong key.
            401 | 403 => ErrorKind::Authentication { status },
            400 if self.is(&["invalid_api_key"]) || self.says(&["api key not valid"]) => {
                ErrorKind::Authentication { status }
            }
            404 if self.is(&["model_not_found"]) || self.says(&["model"]) => {
                ErrorKind::UnknownModel
            }
            404 if self.is(&["not_found_error"]) => ErrorKind::UnknownModel,
            404 | 405 => ErrorKind::Protocol { what: "there is nothing at this address" },
            429 => ErrorKind::RateLimited { retry_after },
            // 529 is Anthropic's; 503 is llama.cpp's while it loads the model.
            503 | 529 => ErrorKind::Overloaded { retry_after },
            _ if self.is(&["overloaded_error"]) => ErrorKind::Overloaded { retry_after },
            408 | 409 | 425 | 500.. => ErrorKind::Server { status, detail: self.detail() },
            _ => ErrorKind::BadRequest { status, detail: self.detail() },
        }
    }

    fn detail(&self) -> String {
        let mut detail: Vec<String> =
            self.words.iter().filter_map(|text| word(text)).map(str::to_owned).collect();
        detail.dedup();
        if let Some(param) = self.param.as_deref().and_then(word) {
            detail.push(format!("parameter {param}"));
        }
        detail.join(", ")
    }
}

/// The size of the model's context, where a message says it.
fn context(message: &str) -> Option<u64> {
    // "maximum context length is 8192 tokens" (OpenAI, vLLM), "available context size (4096 tokens)"
    // (llama.cpp), "prompt is too long: 208310 tokens > 200000 maximum" (Anthropic).
    ["maximum context length is ", "available context size (", " tokens > "].iter().find_map(
        |before| {
            let (_, after) = message.split_once(before)?;
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as the providers give them, and what they mean here.
    #[test]
    fn errors_of_all_providers_are_understood() {
        let after = Some(Duration::from_secs(7));
        let cases = [
            // OpenAI.
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided: sk-abc.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                ErrorKind::Authentication { status: 401 },
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                ErrorKind::ContextTooLong { limit: Some(8192) },
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit reached for gpt-5-mini","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
                ErrorKind::RateLimited { retry_after: after },
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                ErrorKind::NoCredit,
            ),
            (
                404,
                r#"{"error":{"message":"The model `x` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                ErrorKind::UnknownModel,
            ),
            (
                400,
                r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.2","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}"#,
                ErrorKind::BadRequest {
                    status: 400,
                    detail: "invalid_request_error, unsupported_value, parameter temperature"
                        .to_owned(),
                },
            ),
            (
                400,
                r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter"}}"#,
                ErrorKind::Refused,
            ),
            // Anthropic.
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#,
                ErrorKind::Overloaded { retry_after: after },
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#,
                ErrorKind::ContextTooLong { limit: Some(200_000) },
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
                ErrorKind::NoCredit,
            ),
            (
                404,
                r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#,
                ErrorKind::UnknownModel,
            ),
            (
                413,
                r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
                ErrorKind::ContextTooLong { limit: None },
            ),
            // llama.cpp, Ollama, vLLM, FastAPI, a proxy.
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                ErrorKind::Overloaded { retry_after: after },
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":14429,"n_ctx":8192}}"#,
                ErrorKind::ContextTooLong { limit: Some(8192) },
            ),
            (
                404,
                r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}}"#,
                ErrorKind::UnknownModel,
            ),
            (
                400,
                r#"{"object":"error","message":"[{'input': {'messages': 'what the correspondent wrote'}}]","type":"BadRequestError","param":null,"code":400}"#,
                ErrorKind::BadRequest { status: 400, detail: "badrequesterror".to_owned() },
            ),
            (
                404,
                r#"{"detail":"Not Found"}"#,
                ErrorKind::Protocol { what: "there is nothing at this address" },
            ),
            (
                502,
                "<html><body>Bad Gateway</body></html>",
                ErrorKind::Server { status: 502, detail: String::new() },
            ),
            (308, "", ErrorKind::Protocol { what: "it answers with a redirect" }),
        ];
        for (status, body, expected) in cases {
            assert_eq!(classify(status, after, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn errors_inside_an_answer_have_no_status_and_mean_the_same() {
        let cases = [
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                ErrorKind::Overloaded { retry_after: None },
            ),
            (
                r#"{"error":{"message":"The server had an error while processing your request.","type":"server_error","param":null,"code":null}}"#,
                ErrorKind::Server { status: 500, detail: "server_error".to_owned() },
            ),
            (
                r#"{"error":{"code":429,"message":"Provider returned error"}}"#,
                ErrorKind::RateLimited { retry_after: None },
            ),
            (
                r#"{"error":"an error was encountered while running the model"}"#,
                ErrorKind::Server { status: 500, detail: String::new() },
            ),
            ("not JSON", ErrorKind::Server { status: 500, detail: String::new() }),
        ];
        for (body, expected) in cases {
            assert_eq!(in_stream(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_plain_word_is_not_repeated() {
        let body = r#"{"error":{"type":"the customer said hello","code":"x-1","param":"messages[0].content = hello"}}"#;
        assert_eq!(
            classify(422, None, body.as_bytes()),
            ErrorKind::BadRequest { status: 422, detail: "x-1".to_owned() }
        );
    }
}
