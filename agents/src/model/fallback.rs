//! A list of models: the next is asked when one fails before its first token.

use super::{Capabilities, Error, Event, EventStream, Failed, Model, Request};
use futures_util::stream::{self, StreamExt as _};
use std::{sync::Arc, vec};

/// Several models that stand in for each other. Its name and what it takes are the first's: the others
/// describe what they do not take.
pub(super) struct Fallback {
    models: Vec<Arc<dyn Model>>,
}

impl Fallback {
    /// `models` in order of preference, at least one.
    pub fn new(models: Vec<Arc<dyn Model>>) -> Self {
        assert!(!models.is_empty(), "a list of models has at least one");
        Self { models }
    }
}

impl Model for Fallback {
    fn name(&self) -> &str {
        self.models[0].name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.models[0].capabilities()
    }

    fn stream(&self, request: Request) -> EventStream {
        let asking =
            Asking::Next { request, models: self.models.clone().into_iter(), failed: Vec::new() };
        stream::unfold(asking, |asking| async move { asking.next().await }).boxed()
    }
}

enum Asking {
    Next { request: Request, models: vec::IntoIter<Arc<dyn Model>>, failed: Vec<Error> },
    Answering(EventStream),
    Over,
}

impl Asking {
    async fn next(self) -> Option<(Result<Event, Error>, Self)> {
        match self {
            Self::Next { request, mut models, mut failed } => loop {
                let Some(model) = models.next() else {
                    return Some((Err(verdict(failed)), Self::Over));
                };
                let mut answer = model.stream(request.clone());
                match answer.next().await {
                    Some(Ok(Event::Started { model, failed: before })) => {
                        let failed = failed.into_iter().flat_map(flat).chain(before).collect();
                        let started = Event::Started { model, failed };
                        return Some((Ok(started), Self::Answering(answer)));
                    }
                    Some(Ok(event)) => return Some((Ok(event), Self::Answering(answer))),
                    Some(Err(error)) => {
                        let next = models.as_slice().first().map(|model| model.name());
                        tracing::warn!(%error, next, "a model did not answer");
                        failed.push(error);
                    }
                    // Not allowed by the trait; there is nothing to report but the next may do better.
                    None => {}
                }
            },
            Self::Answering(mut answer) => {
                let event = answer.next().await?;
                Some((event, Self::Answering(answer)))
            }
            Self::Over => None,
        }
    }
}

fn flat(error: Error) -> Vec<Failed> {
    let first = Failed { model: error.model, kind: error.kind };
    std::iter::once(first).chain(error.also).collect()
}

/// The error of all: the one that passes soonest, else the first; the others are mentioned.
fn verdict(mut failed: Vec<Error>) -> Error {
    let soonest = (0..failed.len())
        .filter(|&index| failed[index].may_retry())
        .min_by_key(|&index| failed[index].retry_after().unwrap_or_default());
    if failed.is_empty() {
        return Error::new("(no model)", super::ErrorKind::HalfClosed);
    }
    let mut error = failed.remove(soonest.unwrap_or(0));
    error.also.extend(failed.into_iter().flat_map(flat));
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, StopReason};
    use std::time::Duration;

    /// Gives the same answer every time.
    struct Fixed(&'static str, Vec<Result<Event, ErrorKind>>, Capabilities);

    impl Model for Fixed {
        fn name(&self) -> &str {
            self.0
        }

        fn capabilities(&self) -> &Capabilities {
            &self.2
        }

        fn stream(&self, _request: Request) -> EventStream {
            let name = self.0;
            let items = self.1.clone().into_iter();
            stream::iter(items.map(move |item| item.map_err(|kind| Error::new(name, kind)))).boxed()
        }
    }

    fn model(name: &'static str, answer: Vec<Result<Event, ErrorKind>>) -> Arc<dyn Model> {
        let takes = Capabilities { context: 1, images: false, documents: false };
        Arc::new(Fixed(name, answer, takes))
    }

    fn down(name: &'static str, kind: ErrorKind) -> Arc<dyn Model> {
        model(name, vec![Err(kind)])
    }

    fn well(name: &'static str) -> Arc<dyn Model> {
        let started = Event::Started { model: name.to_owned(), failed: Vec::new() };
        model(name, vec![Ok(started), Ok(Event::Stop(StopReason::EndTurn))])
    }

    async fn ask(models: Vec<Arc<dyn Model>>) -> Vec<Result<Event, Error>> {
        Fallback::new(models).stream(Request::default()).collect().await
    }

    const LIMITED: ErrorKind =
        ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(60)) };

    #[tokio::test]
    async fn the_next_answers_and_says_who_failed_before_it() {
        let answer = ask(vec![
            down("a:1", ErrorKind::UnknownModel),
            down("b:2", LIMITED),
            well("c:3"),
            well("d:4"),
        ])
        .await;
        let failed = vec![
            Failed { model: "a:1".to_owned(), kind: ErrorKind::UnknownModel },
            Failed { model: "b:2".to_owned(), kind: LIMITED },
        ];
        let expected = vec![
            Ok(Event::Started { model: "c:3".to_owned(), failed }),
            Ok(Event::Stop(StopReason::EndTurn)),
        ];
        assert_eq!(answer, expected);
    }

    #[tokio::test]
    async fn after_its_first_token_nobody_stands_in() {
        let started = Event::Started { model: "a:1".to_owned(), failed: Vec::new() };
        let broken =
            vec![Ok(started), Ok(Event::TextDelta("Dear".to_owned())), Err(ErrorKind::HalfClosed)];
        let answer = ask(vec![model("a:1", broken), well("b:2")]).await;
        assert_eq!(answer.len(), 3);
        assert_eq!(answer[2], Err(Error::new("a:1", ErrorKind::HalfClosed)));
    }

    #[tokio::test]
    async fn if_all_fail_the_one_that_passes_soonest_is_the_error() {
        let answer = ask(vec![
            down("a:1", ErrorKind::UnknownModel),
            down("b:2", LIMITED),
            down("c:3", ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(5)) }),
        ])
        .await;
        let [Err(error)] = answer.as_slice() else { panic!("{answer:?}") };
        assert_eq!(error.model, "c:3");
        assert!(error.may_retry());
        let also: Vec<&str> = error.also.iter().map(|failed| failed.model.as_str()).collect();
        assert_eq!(also, ["a:1", "b:2"]);
        let answer = ask(vec![
            down("a:1", ErrorKind::UnknownModel),
            down("b:2", ErrorKind::Authentication { status: 401 }),
        ])
        .await;
        assert!(answer[0].as_ref().is_err_and(|error| error.model == "a:1"));
    }
}
