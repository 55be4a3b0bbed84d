//! What models used: tokens, money and time, per turn and per agent and day.

use crate::{
    AgentId, TaskId,
    model::Usage,
    store::{Lane, Result, Store, Tx, day_of},
};
use rusqlite::OptionalExtension;
use serde::Serialize;

/// What an agent's models have used today.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    pub tokens: u64,
    /// Millionths of a dollar.
    pub cost: u64,
    pub millis: u64,
    pub turns: u64,
}

const SCOPE_TOKENS: &str = "model_tokens";
const SCOPE_COST: &str = "model_cost";
const SCOPE_MILLIS: &str = "model_millis";
const SCOPE_TURNS: &str = "model_turns";

pub(super) fn count(
    tx: &Tx<'_>,
    turn: TaskId,
    agent: AgentId,
    usage: Usage,
    millis: u64,
) -> Result<()> {
    tx.run(
        "UPDATE turns SET tokens_in = tokens_in + ?2, tokens_out = tokens_out + ?3,
                          cost = cost + ?4, model_millis = model_millis + ?5 WHERE id = ?1",
        (
            turn,
            usage.input.cast_signed(),
            usage.output.cast_signed(),
            usage.cost.unwrap_or_default().cast_signed(),
            millis.cast_signed(),
        ),
    )?;
    count_agent(tx, agent, usage, millis)
}

pub(super) fn count_agent(tx: &Tx<'_>, agent: AgentId, usage: Usage, millis: u64) -> Result<()> {
    let tokens = usage.input.saturating_add(usage.output).cast_signed();
    let (cost, millis) = (usage.cost.unwrap_or_default().cast_signed(), millis.cast_signed());
    let agent = agent.0.to_string();
    for (scope, n) in [(SCOPE_TOKENS, tokens), (SCOPE_COST, cost), (SCOPE_MILLIS, millis)] {
        if n > 0 {
            tally(tx, scope, &agent, n)?;
        }
    }
    Ok(())
}

fn tally(tx: &Tx<'_>, scope: &str, key: &str, n: i64) -> Result<()> {
    tx.run(
        "INSERT INTO tallies (day, scope, key, n) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (day, scope, key) DO UPDATE SET n = n + excluded.n",
        (day_of(tx.now), scope, key, n),
    )?;
    Ok(())
}

/// Counts a turn that ended.
pub(super) fn count_turn(tx: &Tx<'_>, agent: AgentId) -> Result<()> {
    tally(tx, SCOPE_TURNS, &agent.0.to_string(), 1)
}

impl Store {
    /// Counts what a model used outside of a turn's rounds.
    pub(crate) async fn count_model(
        &self,
        agent: AgentId,
        usage: Usage,
        millis: u64,
    ) -> Result<()> {
        self.write(Lane::Turn, move |tx| count_agent(tx, agent, usage, millis)).await
    }

    /// What an agent's models have used today.
    pub(crate) async fn used_today(&self, agent: AgentId) -> Result<Used> {
        let day = day_of(self.clock().now().as_millisecond());
        self.read_async(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT n FROM tallies WHERE day = ?1 AND scope = ?2 AND key = ?3",
            )?;
            let mut of = |scope: &str| -> Result<u64> {
                let n: Option<i64> = query
                    .query_row((day, scope, agent.0.to_string()), |row| row.get(0))
                    .optional()?;
                Ok(n.unwrap_or_default().cast_unsigned())
            };
            Ok(Used {
                tokens: of(SCOPE_TOKENS)?,
                cost: of(SCOPE_COST)?,
                millis: of(SCOPE_MILLIS)?,
                turns: of(SCOPE_TURNS)?,
            })
        })
        .await
    }
}
