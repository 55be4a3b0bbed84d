//! What an agent of kind `assistant` is told, and what it may do and use.

use super::error::At;
use super::mcp::{self, McpServer, McpUse};
use super::models::{self, ModelsConfig, micros};
use super::names;
use super::read::{Surroundings, own_kind};
use super::settings::ASSISTANT;
use super::suggest::nearest;
use super::walk::Section;
use frontdesk_agents::{
    builtin::WorkingHours,
    gate::{Approval, Rule, SendRules},
    tool,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Instructions are read whole, and by the model in every turn.
const INSTRUCTIONS_MAX: u64 = 64 * 1024;

/// In `tools`, all that an assistant has where none are named.
const USUAL: &str = "usual";

/// The keys of an `[[agent]]` that are an assistant's alone.
const KEYS: [&str; 14] = [
    "instructions",
    "instructions_file",
    "model",
    "tools",
    "tool_approval",
    "show_attachments",
    "tokens_per_day",
    "cost_per_day",
    "turns_per_day",
    "working_hours",
    "send_domains",
    "new_contacts",
    "outside",
    "answers_unproven",
];

/// An assistant's part of `[[agent]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssistantConfig {
    /// What it is told about who it is and what it does. Default: to answer briefly, and to hand over what it
    /// cannot do.
    pub instructions: Option<String>,
    /// The model, and those to fall back on. Default: `default` of `[models]`.
    pub models: Vec<String>,
    /// Tools it may use, servers' apart. Default: the built-in ones that stay within its conversations.
    pub tools: BTreeSet<String>,
    /// Which calls of a tool a person approves. Default: as the tool says.
    pub tool_approval: BTreeMap<String, Approval>,
    /// Tools of servers it may use, by server. Default: none.
    pub mcp: BTreeMap<String, McpUse>,
    /// Whether pictures and PDF of a mail are before it from the beginning. Default: when it asks for them.
    pub show_attachments: bool,
    /// What its models may use in a day (UTC). Default: as much as it takes.
    pub tokens_per_day: Option<u64>,
    /// In millionths of a dollar.
    pub cost_per_day: Option<u64>,
    /// Turns it takes in a day.
    pub turns_per_day: Option<u64>,
    /// When it answers. Default: always.
    pub working_hours: Option<WorkingHours>,
    /// To whom outside of a conversation it may write without a person. Default: to nobody.
    pub send: SendRules,
    /// Whether it prepares answers to unproven senders, which wait for a person. Default: no.
    pub answers_unproven: bool,
    /// Where a part of its instructions stands, so that a change there is noticed.
    pub instructions_file: Option<PathBuf>,
}

pub(super) fn assistant(
    section: &Section<'_, '_, '_>,
    around: &Surroundings<'_>,
    kind: Option<&str>,
    (models, servers): (&ModelsConfig, &BTreeMap<String, McpServer>),
) -> AssistantConfig {
    let report = section.report();
    let own_tools = own_kind(around, kind).and_then(|own| own.tools.as_ref());
    let is_assistant = kind == Some(ASSISTANT) || own_tools.is_some();
    if !is_assistant {
        for key in KEYS.into_iter().filter(|key| section.has(key)) {
            report.problem(
                &section.value_span(key),
                format!(
                    "`{key}` is for an assistant; this agent is another kind. Write \
                     kind = \"assistant\", or leave `{key}` out."
                ),
            );
        }
    }
    let (instructions, instructions_file) = instructions(section, around);
    let (tools, mut used) = tools(section, servers, own_tools);
    let tool_approval = tool_approval(section, servers, own_tools, &mut used);
    let config = AssistantConfig {
        instructions,
        instructions_file,
        models: models::named(section, "model", models).unwrap_or_default(),
        tools,
        tool_approval,
        mcp: used,
        show_attachments: section.boolean("show_attachments").is_some_and(|at| at.value),
        tokens_per_day: section.integer("tokens_per_day", 1..=u32::MAX, 1_000_000).map(u64::from),
        cost_per_day: cost(section),
        turns_per_day: section.integer("turns_per_day", 1..=u32::MAX, 200).map(u64::from),
        working_hours: working_hours(section),
        send: send(section),
        answers_unproven: section.boolean("answers_unproven").is_some_and(|at| at.value),
    };
    if kind == Some(ASSISTANT) && config.models.is_empty() && models.default.is_empty() {
        let named = section.has("model") && !section.is_empty_list("model");
        if !named && models.of_keys().is_none() && report.is_toml() {
            report.problem(
                &section.span(),
                "this assistant has no model. Write model = \"ollama:qwen3:8b\", or set `default` \
                 under [models].",
            );
        }
    }
    config
}

/// The text of the key, and the text of the file after it, with where that is.
fn instructions(
    section: &Section<'_, '_, '_>,
    around: &Surroundings<'_>,
) -> (Option<String>, Option<PathBuf>) {
    let report = section.report();
    let written = section.string("instructions", "\"You answer questions about orders.\"");
    let file = section.path("instructions_file", "\"support.md\"");
    let path = file.as_ref().map(|at| around.files.resolve(&at.value));
    let file = file.and_then(|at| {
        let text = around.files.text(report, "instructions_file", &at, INSTRUCTIONS_MAX)?;
        Some(At::new(text, at.span))
    });
    let texts: Vec<_> = [written, file].into_iter().flatten().collect();
    if let Some(empty) = texts.iter().find(|at| at.value.trim().is_empty()) {
        report.problem(&empty.span, "these instructions are empty. Write some, or leave them out.");
    }
    let texts: Vec<_> = texts.iter().map(|at| at.value.trim()).collect();
    ((!texts.is_empty()).then(|| texts.join("\n\n")), path)
}

/// The built-in tools, and those that the program gives this kind of assistant.
fn known_tools(own: Option<&BTreeSet<String>>) -> BTreeSet<String> {
    let mut known: BTreeSet<_> =
        tool::builtin::all().iter().map(|tool| tool.spec().name.clone()).collect();
    known.extend(own.into_iter().flatten().cloned());
    known
}

fn unknown_tool(key: &str, name: &str, known: &BTreeSet<String>) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("`{key}`: there is no tool \"{name}\". Did you mean \"{near}\"?"),
        None => {
            let all: Vec<_> = known.iter().map(String::as_str).collect();
            format!("`{key}`: there is no tool \"{name}\". There are {}.", all.join(", "))
        }
    }
}

/// The built-in tools, and those of servers. Where only servers' are named, the usual ones come with them:
/// without them an assistant could not even hand anything to a person.
fn tools(
    section: &Section<'_, '_, '_>,
    servers: &BTreeMap<String, McpServer>,
    own: Option<&BTreeSet<String>>,
) -> (BTreeSet<String>, BTreeMap<String, McpUse>) {
    let known = known_tools(own);
    let mut tools = BTreeSet::new();
    let mut used: BTreeMap<String, McpUse> = BTreeMap::new();
    for at in section.strings("tools", "[\"reply\", \"label\"]").unwrap_or_default() {
        if at.value.starts_with(mcp::PREFIX) {
            if let Some((server, tool)) = mcp::named(section.report(), "tools", &at, servers) {
                used.entry(server.to_owned()).or_default().tools.insert(tool.to_owned());
            }
        } else if at.value == USUAL {
            tools.extend(tool::builtin::usual());
        } else if known.contains(&at.value) {
            tools.insert(at.value);
        } else {
            section.report().problem(&at.span, unknown_tool("tools", &at.value, &known));
        }
    }
    if tools.is_empty() && !used.is_empty() {
        tools = tool::builtin::usual();
    }
    (tools, used)
}

fn tool_approval(
    section: &Section<'_, '_, '_>,
    servers: &BTreeMap<String, McpServer>,
    own: Option<&BTreeSet<String>>,
    used: &mut BTreeMap<String, McpUse>,
) -> BTreeMap<String, Approval> {
    let known = known_tools(own);
    let mut approvals = BTreeMap::new();
    let report = section.report();
    for (name, word) in section.texts("tool_approval", "{ remember = \"all\" }") {
        let approval = match word.value.as_str() {
            "all" => Approval::All,
            "unknown" => Approval::Unknown,
            "none" => Approval::None,
            other => {
                report.problem(
                    &word.span,
                    format!(
                        "`tool_approval` of {name} cannot be \"{other}\". Write \"all\", \
                         \"unknown\" or \"none\"."
                    ),
                );
                continue;
            }
        };
        if name.starts_with(mcp::PREFIX) {
            let at = At::new(name, word.span);
            let Some((server, tool)) = mcp::named(report, "tool_approval", &at, servers) else {
                continue;
            };
            match used.get_mut(server) {
                Some(used) if tool == mcp::ALL || used.allows(tool) => {
                    used.approval.insert(tool.to_owned(), approval);
                }
                _ => report.problem(
                    &at.span,
                    format!(
                        "`tool_approval`: this assistant may not use \"{0}\". Add it to `tools`: \
                         tools = [\"{USUAL}\", \"{0}\"].",
                        at.value
                    ),
                ),
            }
            continue;
        }
        if !known.contains(&name) {
            report.problem(&word.span, unknown_tool("tool_approval", &name, &known));
        }
        approvals.insert(name, approval);
    }
    approvals
}

fn cost(section: &Section<'_, '_, '_>) -> Option<u64> {
    let at = section.string("cost_per_day", "\"$2.50\"")?;
    let cost = micros(&at.value).filter(|micros| *micros > 0);
    if cost.is_none() {
        let why =
            format!("`cost_per_day`: \"{}\" is no amount. Write dollars: \"$2.50\".", at.value);
        section.report().problem(&at.span, why);
    }
    cost
}

/// To whom outside of a conversation it may write.
fn send(section: &Section<'_, '_, '_>) -> SendRules {
    let report = section.report();
    let rule = |key| {
        let rules = [("hold", Rule::Hold), ("allow", Rule::Allow), ("deny", Rule::Deny)];
        section.choice(key, &rules).map(|at| at.value).unwrap_or_default()
    };
    let domains = section.strings("send_domains", "[\"supplier.example\"]").unwrap_or_default();
    let allowed_domains: Vec<_> = domains
        .into_iter()
        .filter_map(|at| {
            names::domain(&at.value)
                .map_err(|why| report.problem(&at.span, format!("`send_domains`: {why}")))
                .ok()
        })
        .collect();
    if allowed_domains.is_empty() && section.has("new_contacts") && !section.has("send_domains") {
        report.problem(
            &section.value_span("new_contacts"),
            "`new_contacts` is about addresses in `send_domains`, which is missing. Name the domains, or \
             use `outside` for everybody.",
        );
    }
    SendRules { allowed_domains, new_contacts: rule("new_contacts"), outside: rule("outside") }
}

fn working_hours(section: &Section<'_, '_, '_>) -> Option<WorkingHours> {
    let at = section.string("working_hours", "\"mon-fri 09:00-17:00 Europe/Berlin\"")?;
    match parse_hours(&at.value) {
        Ok(hours) => Some(hours),
        Err(why) => {
            section.report().problem(
                &at.span,
                format!(
                    "`working_hours`: {why}. Write them as \"mon-fri 09:00-17:00 Europe/Berlin\"."
                ),
            );
            None
        }
    }
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `mon-fri,sun 09:00-17:00 Europe/Berlin`.
fn parse_hours(text: &str) -> Result<WorkingHours, String> {
    let [days, times, zone] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(format!("\"{text}\" does not have days, times and a time zone"));
    };
    let number = |day: &str| {
        let at = DAYS.iter().position(|known| known.eq_ignore_ascii_case(day));
        at.and_then(|at| i8::try_from(at + 1).ok()).ok_or_else(|| format!("\"{day}\" is no day"))
    };
    let mut set = BTreeSet::new();
    for range in days.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("\"{range}\" ends before it begins"));
        }
        set.extend(first..=last);
    }
    let time = |text: &str| text.parse().map_err(|_| format!("\"{text}\" is no time of day"));
    let (from, to) = times
        .split_once('-')
        .ok_or_else(|| format!("\"{times}\" is not from a time to another"))?;
    let hours =
        WorkingHours { time_zone: zone.to_owned(), days: set, from: time(from)?, to: time(to)? };
    hours.check().map(|()| hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_days_times_and_a_zone() {
        let hours = parse_hours("mon-fri,Sun 09:00-17:30 Europe/Berlin").unwrap();
        assert_eq!(hours.days, BTreeSet::from([1, 2, 3, 4, 5, 7]));
        assert_eq!((hours.from.hour(), hours.to.minute()), (9, 30));
        for (wrong, why) in [
            ("mon-fri 09:00-17:00", "a time zone"),
            ("fri-mon 09:00-17:00 UTC", "ends before it begins"),
            ("day 09:00-17:00 UTC", "no day"),
            ("mon 9am-17:00 UTC", "no time of day"),
            ("mon 17:00-09:00 UTC", "before they begin"),
            ("mon 09:00-17:00 Mars", "IANA"),
        ] {
            let error = parse_hours(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
