//! What programs show to be let in. A token is here only as its hash, and stays listed when revoked.

use super::{Lane, Result, Scope, SecretHash, Sight, Store, StoreError, timestamp};
use crate::{AgentId, TokenId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

/// A program's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub sight: Sight,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub name: String,
    pub hash: SecretHash,
    pub scopes: Vec<Scope>,
    pub sight: Sight,
    pub expires_at: Option<Timestamp>,
}

const TOKEN: &str =
    "id, name, scopes, all_agents, created_by, created_at, expires_at, last_used_at, revoked_at";

impl Store {
    /// Makes a token.
    pub async fn create_token(&self, token: NewToken, by: String) -> Result<Token> {
        self.write(Lane::Turn, move |tx| {
            let id = TokenId(tx.insert(
                "INSERT INTO tokens (name, hash, scopes, all_agents, created_by, created_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                (
                    &token.name,
                    token.hash,
                    serde_json::to_string(&token.scopes)?,
                    token.sight == Sight::All,
                    &by,
                    tx.now,
                    token.expires_at.map(Timestamp::as_millisecond),
                ),
            )?);
            if let Sight::Only(agents) = &token.sight {
                for agent in agents {
                    tx.run(
                        "INSERT OR IGNORE INTO token_agents (token_id, agent_id) VALUES (?1, ?2)",
                        (id, agent),
                    )?;
                }
            }
            tx.audit(&by, "token.create", &id.to_string(), &token.name)?;
            load(tx.conn, id)
        })
        .await
    }

    /// Tokens, newest first, below an id.
    pub async fn tokens(&self, before: TokenId, limit: usize) -> Result<Vec<Token>> {
        self.read_async(move |conn| {
            let ids = conn
                .prepare_cached("SELECT id FROM tokens WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?
                .query_map((before, limit), |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<TokenId>>>()?;
            ids.into_iter().map(|id| load(conn, id)).collect()
        })
        .await
    }

    /// A token by id.
    pub async fn token(&self, id: TokenId) -> Result<Token> {
        self.read_async(move |conn| load(conn, id)).await
    }

    /// A token by the hash of what was shown, if it was neither revoked nor has expired.
    pub async fn token_by_hash(&self, hash: SecretHash) -> Result<Option<Token>> {
        let now = self.clock().now().as_millisecond();
        self.read_async(move |conn| {
            let id: Option<TokenId> = conn
                .prepare_cached(
                    "SELECT id FROM tokens WHERE hash = ?1 AND revoked_at IS NULL
                     AND (expires_at IS NULL OR expires_at > ?2)",
                )?
                .query_row((hash, now), |row| row.get(0))
                .optional()?;
            id.map(|id| load(conn, id)).transpose()
        })
        .await
    }

    /// Notes that a token is in use.
    pub async fn touch_token(&self, id: TokenId) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run("UPDATE tokens SET last_used_at = ?2 WHERE id = ?1", (id, tx.now))?;
            Ok(())
        })
        .await
    }

    /// Revokes a token: it no longer works from the next request on.
    pub async fn revoke_token(&self, id: TokenId, by: String) -> Result<Token> {
        self.write(Lane::Turn, move |tx| {
            let token = load(tx.conn, id)?;
            if token.revoked_at.is_some() {
                return Err(StoreError::Conflict(format!("token {id} is revoked already")));
            }
            tx.run("UPDATE tokens SET revoked_at = ?2 WHERE id = ?1", (id, tx.now))?;
            tx.audit(&by, "token.revoke", &id.to_string(), &token.name)?;
            load(tx.conn, id)
        })
        .await
    }
}

fn load(conn: &Connection, id: TokenId) -> Result<Token> {
    let token = conn
        .prepare_cached(&format!("SELECT {TOKEN} FROM tokens WHERE id = ?1"))?
        .query_row((id,), |row| Ok((read(row)?, row.get::<_, String>(2)?, row.get::<_, bool>(3)?)))
        .optional()?;
    let (mut token, scopes, all_agents) =
        token.ok_or_else(|| StoreError::NotFound(format!("there is no token {id}")))?;
    token.scopes = serde_json::from_str(&scopes)?;
    if !all_agents {
        token.sight = Sight::Only(
            conn.prepare_cached(
                "SELECT agent_id FROM token_agents WHERE token_id = ?1 ORDER BY agent_id",
            )?
            .query_map((id,), |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<AgentId>>>()?,
        );
    }
    Ok(token)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Token> {
    let time = |index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(timestamp));
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        scopes: Vec::new(),
        sight: Sight::All,
        created_by: row.get(4)?,
        created_at: timestamp(row.get(5)?),
        expires_at: time(6)?,
        last_used_at: time(7)?,
        revoked_at: time(8)?,
    })
}
