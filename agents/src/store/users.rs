//! People who sign in: users, the links that let them in once, and their browsers.
//!
//! What always holds: there is an owner as soon as there is anybody; secrets are here only as hashes;
//! whoever gets a new password is signed out everywhere else; every change is in the audit trail.

use super::{Lane, Result, Sight, Store, StoreError, Tx, UserRole, timestamp};
use crate::{AgentId, SessionId, UserId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

/// SHA-256 of a secret of 256 random bits.
pub type SecretHash = [u8; 32];

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub email: Option<String>,
    pub role: UserRole,
    pub sight: Sight,
    /// Whether they have signed in by a link and chosen a password.
    pub has_password: bool,
    /// Whether they are told by mail of what waits for them.
    pub review_mail: bool,
    /// Browsers they are signed in with.
    pub sessions: u32,
    pub created_at: Timestamp,
}

/// What a new user is to be, or what one becomes. `None` leaves what is there.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    pub email: Option<Option<String>>,
    pub role: Option<UserRole>,
    pub sight: Option<Sight>,
    pub review_mail: Option<bool>,
}

/// A link that signs a user in once.
#[derive(Debug, Clone, Copy)]
pub struct NewLink {
    pub hash: SecretHash,
    pub expires_at: Timestamp,
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: User,
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
}

const USER: &str = "u.id, u.name, u.email, u.role, u.all_agents, u.password <> '',
    (SELECT count(*) FROM web_sessions s WHERE s.user_id = u.id), u.created_at, u.review_mail";

impl Store {
    /// The first owner with a link, unless there are users already.
    pub async fn found(&self, name: String, link: NewLink) -> Result<Option<User>> {
        self.write(Lane::Turn, move |tx| {
            if tx.find("SELECT 1 FROM users LIMIT 1", (), |_| Ok(()))?.is_some() {
                return Ok(None);
            }
            let user = insert(tx, &name, None, UserRole::Owner, &Sight::All)?;
            add_link(tx, user, &link)?;
            tx.audit("operator", "user.create", &name, "the first owner")?;
            load(tx.conn, user).map(Some)
        })
        .await
    }

    /// Adds a user with a link for the first sign-in.
    pub async fn create_user(
        &self,
        name: String,
        email: Option<String>,
        role: UserRole,
        sight: Sight,
        link: NewLink,
        by: String,
    ) -> Result<User> {
        self.write(Lane::Turn, move |tx| {
            let taken = tx.find(
                "SELECT name FROM users WHERE name = ?1 OR (?2 IS NOT NULL AND email = ?2)",
                (&name, &email),
                |row| row.get::<_, String>(0),
            )?;
            if let Some(taken) = taken {
                return Err(StoreError::Conflict(format!(
                    "user {taken:?} has this name or address"
                )));
            }
            let user = insert(tx, &name, email.as_deref(), role, &sight)?;
            add_link(tx, user, &link)?;
            tx.audit(&by, "user.create", &name, role.as_str())?;
            load(tx.conn, user)
        })
        .await
    }

    /// Users by id, after one.
    pub async fn users(&self, after: UserId, limit: usize) -> Result<Vec<User>> {
        self.read_async(move |conn| {
            let ids = conn
                .prepare_cached("SELECT id FROM users WHERE id > ?1 ORDER BY id LIMIT ?2")?
                .query_map((after, limit), |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<UserId>>>()?;
            ids.into_iter().map(|id| load(conn, id)).collect()
        })
        .await
    }

    /// A user by id.
    pub async fn user(&self, id: UserId) -> Result<User> {
        self.read_async(move |conn| load(conn, id)).await
    }

    /// A user by name; without a name the first owner.
    pub async fn user_named(&self, name: Option<String>) -> Result<User> {
        self.read_async(move |conn| {
            let id = conn
                .prepare_cached(
                    "SELECT id FROM users WHERE coalesce(name = ?1, role = 'owner') ORDER BY id LIMIT 1",
                )?
                .query_row((&name,), |row| row.get(0))
                .optional()?;
            match id {
                Some(id) => load(conn, id),
                None => Err(StoreError::NotFound(match name {
                    Some(name) => format!("there is no user {name:?}"),
                    None => "there is no user yet: the server makes the first one when it starts".into(),
                })),
            }
        })
        .await
    }

    /// Changes what a user is. What they may no longer see they do not see from the next request on.
    pub async fn change_user(&self, id: UserId, change: UserChange, by: String) -> Result<User> {
        self.write(Lane::Turn, move |tx| {
            let user = load(tx.conn, id)?;
            let role = change.role.unwrap_or(user.role);
            let sight = change.sight.clone().unwrap_or(user.sight);
            if user.role == UserRole::Owner && role != UserRole::Owner {
                keep_an_owner(tx, id)?;
            }
            let email = change.email.clone().unwrap_or(user.email);
            let review_mail = change.review_mail.unwrap_or(user.review_mail);
            if review_mail && email.is_none() {
                return Err(StoreError::Conflict(format!(
                    "user {:?} has no address that reviews could be mailed to: set `email` as well",
                    user.name
                )));
            }
            if let Some(email) = &email {
                let other = tx.find(
                    "SELECT name FROM users WHERE email = ?1 AND id <> ?2",
                    (email, id),
                    |row| row.get::<_, String>(0),
                )?;
                if let Some(other) = other {
                    return Err(StoreError::Conflict(format!("user {other:?} has this address")));
                }
            }
            tx.run(
                "UPDATE users SET role = ?2, email = ?3, all_agents = ?4, review_mail = ?5 WHERE id = ?1",
                (id, role.as_str(), email, sight == Sight::All, review_mail),
            )?;
            set_agents(tx, id, &sight)?;
            tx.audit(&by, "user.update", &user.name, role.as_str())?;
            load(tx.conn, id)
        })
        .await
    }

    /// Removes a user with their sessions. What they did stays in the audit trail under their name.
    pub async fn delete_user(&self, id: UserId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            let user = load(tx.conn, id)?;
            if user.role == UserRole::Owner {
                keep_an_owner(tx, id)?;
            }
            tx.run("UPDATE conversations SET assignee_id = NULL WHERE assignee_id = ?1", (id,))?;
            tx.run("DELETE FROM users WHERE id = ?1", (id,))?;
            tx.audit(&by, "user.delete", &user.name, "")
        })
        .await
    }

    /// A new link for a user. Links given out before no longer work.
    pub async fn new_link(&self, id: UserId, link: NewLink, by: String) -> Result<User> {
        self.write(Lane::Turn, move |tx| {
            let user = load(tx.conn, id)?;
            tx.run("DELETE FROM signin_links WHERE user_id = ?1", (id,))?;
            add_link(tx, id, &link)?;
            tx.audit(&by, "user.link", &user.name, "")?;
            Ok(user)
        })
        .await
    }

    /// Whose link this is, if it still works.
    pub async fn link_user(&self, hash: SecretHash) -> Result<Option<User>> {
        let now = self.clock().now().as_millisecond();
        self.read_async(move |conn| {
            let user: Option<UserId> = conn
                .prepare_cached(
                    "SELECT user_id FROM signin_links WHERE hash = ?1 AND expires_at > ?2",
                )?
                .query_row((hash, now), |row| row.get(0))
                .optional()?;
            user.map(|user| load(conn, user)).transpose()
        })
        .await
    }

    /// Uses a link up: the user has this password from now on and is signed in here and nowhere else.
    pub async fn redeem_link(
        &self,
        hash: SecretHash,
        password: String,
        session: NewLink,
    ) -> Result<Option<Session>> {
        self.write(Lane::Turn, move |tx| {
            let user: Option<UserId> = tx.find(
                "DELETE FROM signin_links WHERE hash = ?1 AND expires_at > ?2 RETURNING user_id",
                (hash, tx.now),
                |row| row.get(0),
            )?;
            let Some(user) = user else { return Ok(None) };
            replace_password(tx, user, &password)?;
            let session = start_session(tx, user, &session)?;
            tx.audit(&actor(&session.user.name), "user.signin", &session.user.name, "by link")?;
            Ok(Some(session))
        })
        .await
    }

    /// The password of a user by name or address, as argon2id in PHC form.
    pub async fn credentials(&self, login: String) -> Result<Option<(UserId, String)>> {
        self.read_async(move |conn| {
            Ok(conn
                .prepare_cached(
                    "SELECT id, password FROM users WHERE (name = ?1 OR email = ?1) AND password <> ''",
                )?
                .query_row((login,), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })
        .await
    }

    /// Signs a user in whose password was right.
    pub async fn start_session(&self, user: UserId, session: NewLink) -> Result<Session> {
        self.write(Lane::Turn, move |tx| {
            let session = start_session(tx, user, &session)?;
            tx.audit(&actor(&session.user.name), "user.signin", &session.user.name, "by password")?;
            Ok(session)
        })
        .await
    }

    /// A new password: signed out everywhere, and in again here.
    pub async fn change_password(
        &self,
        user: UserId,
        password: String,
        session: NewLink,
    ) -> Result<Session> {
        self.write(Lane::Turn, move |tx| {
            replace_password(tx, user, &password)?;
            let session = start_session(tx, user, &session)?;
            tx.audit(&actor(&session.user.name), "user.password", &session.user.name, "")?;
            Ok(session)
        })
        .await
    }

    /// A session by the hash of its cookie, if it was seen after `idle_since` and has not expired.
    pub async fn session(
        &self,
        hash: SecretHash,
        idle_since: Timestamp,
    ) -> Result<Option<Session>> {
        let now = self.clock().now().as_millisecond();
        self.read_async(move |conn| {
            let row: Option<(SessionId, UserId, i64, i64)> = conn
                .prepare_cached(
                    "SELECT id, user_id, seen_at, expires_at FROM web_sessions
                     WHERE hash = ?1 AND expires_at > ?2 AND seen_at > ?3",
                )?
                .query_row((hash, now, idle_since.as_millisecond()), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            let Some((id, user, seen_at, expires_at)) = row else { return Ok(None) };
            Ok(Some(Session {
                id,
                user: load(conn, user)?,
                seen_at: timestamp(seen_at),
                expires_at: timestamp(expires_at),
            }))
        })
        .await
    }

    /// Notes that a session is in use.
    pub async fn touch_session(&self, session: SessionId) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run("UPDATE web_sessions SET seen_at = ?2 WHERE id = ?1", (session, tx.now))?;
            Ok(())
        })
        .await
    }

    /// Signs out one browser.
    pub async fn end_session(&self, session: SessionId, by: String) -> Result<()> {
        self.write(Lane::Turn, move |tx| {
            tx.run("DELETE FROM web_sessions WHERE id = ?1", (session,))?;
            tx.audit(&by, "user.signout", &by, "")
        })
        .await
    }

    /// Signs a user out everywhere. Answers from how many browsers.
    pub async fn end_sessions(&self, user: UserId, by: String) -> Result<usize> {
        self.write(Lane::Turn, move |tx| {
            let name = load(tx.conn, user)?.name;
            let ended = tx.run("DELETE FROM web_sessions WHERE user_id = ?1", (user,))?;
            tx.audit(&by, "user.signout_everywhere", &name, "")?;
            Ok(ended)
        })
        .await
    }
}

/// How a user is named in the audit trail.
pub fn actor(name: &str) -> String {
    format!("user:{name}")
}

fn insert(
    tx: &Tx<'_>,
    name: &str,
    email: Option<&str>,
    role: UserRole,
    sight: &Sight,
) -> Result<UserId> {
    let user = UserId(tx.insert(
        "INSERT INTO users (name, email, role, all_agents, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        (name, email, role.as_str(), *sight == Sight::All, tx.now),
    )?);
    set_agents(tx, user, sight)?;
    Ok(user)
}

fn set_agents(tx: &Tx<'_>, user: UserId, sight: &Sight) -> Result<()> {
    tx.run("DELETE FROM user_agents WHERE user_id = ?1", (user,))?;
    if let Sight::Only(agents) = sight {
        for agent in agents {
            tx.run(
                "INSERT OR IGNORE INTO user_agents (user_id, agent_id) VALUES (?1, ?2)",
                (user, agent),
            )?;
        }
    }
    Ok(())
}

fn add_link(tx: &Tx<'_>, user: UserId, link: &NewLink) -> Result<()> {
    tx.run(
        "INSERT INTO signin_links (hash, user_id, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
        (link.hash, user, tx.now, link.expires_at.as_millisecond()),
    )?;
    Ok(())
}

/// Fails if this user is the last owner.
fn keep_an_owner(tx: &Tx<'_>, user: UserId) -> Result<()> {
    let other =
        tx.find("SELECT 1 FROM users WHERE role = 'owner' AND id <> ?1", (user,), |_| Ok(()))?;
    match other {
        Some(()) => Ok(()),
        None => Err(StoreError::Conflict(
            "this is the last owner: make another user an owner first".into(),
        )),
    }
}

fn replace_password(tx: &Tx<'_>, user: UserId, password: &str) -> Result<()> {
    tx.run("UPDATE users SET password = ?2 WHERE id = ?1", (user, password))?;
    tx.run("DELETE FROM signin_links WHERE user_id = ?1", (user,))?;
    tx.run("DELETE FROM web_sessions WHERE user_id = ?1", (user,))?;
    Ok(())
}

fn start_session(tx: &Tx<'_>, user: UserId, session: &NewLink) -> Result<Session> {
    // Those that expired have no other way to go than with the next sign-in.
    tx.run("DELETE FROM web_sessions WHERE expires_at <= ?1", (tx.now,))?;
    let id = SessionId(tx.insert(
        "INSERT INTO web_sessions (hash, user_id, created_at, seen_at, expires_at)
         VALUES (?1, ?2, ?3, ?3, ?4)",
        (session.hash, user, tx.now, session.expires_at.as_millisecond()),
    )?);
    Ok(Session {
        id,
        user: load(tx.conn, user)?,
        seen_at: timestamp(tx.now),
        expires_at: session.expires_at,
    })
}

fn load(conn: &Connection, id: UserId) -> Result<User> {
    let user = conn
        .prepare_cached(&format!("SELECT {USER} FROM users u WHERE u.id = ?1"))?
        .query_row((id,), |row| Ok((read(row)?, row.get::<_, bool>(4)?)))
        .optional()?;
    let (mut user, all_agents) =
        user.ok_or_else(|| StoreError::NotFound(format!("there is no user {id}")))?;
    if !all_agents {
        user.sight = Sight::Only(
            conn.prepare_cached(
                "SELECT agent_id FROM user_agents WHERE user_id = ?1 ORDER BY agent_id",
            )?
            .query_map((id,), |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<AgentId>>>()?,
        );
    }
    Ok(user)
}

fn read(row: &Row<'_>) -> rusqlite::Result<User> {
    let role: String = row.get(3)?;
    Ok(User {
        id: row.get(0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        // Rights that nobody can read are the least.
        role: UserRole::parse(&role).unwrap_or(UserRole::Viewer),
        sight: Sight::All,
        has_password: row.get(5)?,
        sessions: row.get(6)?,
        created_at: timestamp(row.get(7)?),
        review_mail: row.get(8)?,
    })
}
