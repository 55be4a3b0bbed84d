//! What handlers take from a request, with our errors, and pages of lists.

use super::super::problem::Problem;
use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

/// What a handler answers.
pub type Answer<T> = Result<T, Problem>;

/// The query of a request.
pub struct Ask<T>(pub T);

/// The JSON body of a request.
pub struct Said<T>(pub T);

/// The parameters in the path.
pub struct At<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<T>::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Said<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = Json::<T>::from_request(request, state).await?;
        Ok(Self(body))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Pass it as `cursor` to get the next page. None on the last page.
    pub next: Option<String>,
}

/// Items of a page unless asked for another number.
const PAGE: usize = 50;
/// Items of a page at most. Whoever asks for more gets these.
const PAGE_MAX: usize = 200;

/// How many items somebody asks for.
pub fn limit(asked: Option<u32>) -> usize {
    asked.map_or(PAGE, |asked| (asked as usize).clamp(1, PAGE_MAX))
}

/// A cursor that is an id.
pub fn id_cursor(cursor: Option<&str>) -> Answer<Option<i64>> {
    cursor
        .map(|c| {
            c.parse().map_err(|_| Problem::bad_request(format!("{c:?} is no cursor of this list")))
        })
        .transpose()
}

/// Says no to what is no cursor of a list that is sorted by time.
pub fn time_cursor(cursor: Option<&str>) -> Answer<()> {
    let Some(cursor) = cursor else { return Ok(()) };
    let is_time = cursor
        .split_once('.')
        .is_some_and(|(at, id)| at.parse::<i64>().is_ok() && id.parse::<i64>().is_ok());
    if is_time {
        return Ok(());
    }
    Err(Problem::bad_request(format!("{cursor:?} is no cursor of this list")))
}

impl<T> Page<T> {
    /// A page from one item more than it may hold, where there is one; `cursor` names the last.
    pub fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }

    /// The same page in another shape.
    pub fn map<U>(self, view: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(view).collect(), next: self.next }
    }
}

/// For `#[serde(default, deserialize_with = "given")]`: tells a null from what is left out.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
