use super::*;
use crate::{
    EventId, InstanceId, SystemClock,
    store::{PendingEvent, Store, Wake},
};
use futures_util::future::join_all;
use std::sync::mpsc;

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Arc::new(SystemClock)).unwrap();
    (dir, store)
}

/// Holds the writer inside a transaction until the sender is dropped, so that what is submitted
/// meanwhile shares the next ones.
fn hold(store: &Store) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (enter, entered) = mpsc::channel();
    store.submit(
        Lane::Turn,
        move |_| {
            let _ = enter.send(());
            let _ = released.recv();
            Ok(())
        },
        |_| (),
    );
    entered.recv().unwrap();
    release
}

fn put(tx: &Tx<'_>, key: &str, bytes: i64) -> Result<()> {
    tx.run("INSERT INTO meta (key, value) VALUES (?1, randomblob(?2))", (key, bytes))?;
    Ok(())
}

async fn kept(store: &Store) -> Vec<String> {
    store
        .write(Lane::Turn, |tx| {
            let mut query =
                tx.conn.prepare("SELECT key FROM meta WHERE key LIKE 'k%' ORDER BY key")?;
            Ok(query.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_full_disk_is_called_that_and_what_was_told_is_true() {
    let (_dir, store) = open();
    let limit = |pages: &'static str| {
        store.write(Lane::Turn, move |tx| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            Ok(tx.conn.query_row(&sql, (), |row| row.get::<_, i64>(0))?)
        })
    };
    let pages = store
        .write(Lane::Turn, |tx| {
            Ok(tx.conn.query_row("PRAGMA page_count", (), |row| row.get::<_, i64>(0))?)
        })
        .await
        .unwrap();
    limit(Box::leak((pages + 30).to_string().into_boxed_str())).await.unwrap();
    let release = hold(&store);
    let calls: Vec<_> = (0..60)
        .map(|n| {
            let key = format!("k{n:02}");
            let lane = if n % 2 == 0 { Lane::Accept } else { Lane::Turn };
            let store = store.clone();
            async move {
                let name = key.clone();
                (key, store.write(lane, move |tx| put(tx, &name, 12_000)).await)
            }
        })
        .collect();
    // Submitted when first polled.
    let calls = tokio::spawn(join_all(calls));
    tokio::task::yield_now().await;
    drop(release);
    let mut told = Vec::new();
    for (key, outcome) in calls.await.unwrap() {
        match outcome {
            Ok(()) => told.push(key),
            Err(error) => assert!(matches!(error, StoreError::DiskFull), "{error:?}"),
        }
    }
    told.sort();
    assert!(told.len() < 60, "the disk was never full");
    assert_eq!(kept(&store).await, told);
    limit("1000000").await.unwrap();
    store.write(Lane::Accept, |tx| put(tx, "k99", 12_000)).await.unwrap();
    assert_eq!(kept(&store).await.len(), told.len() + 1, "and goes on when there is room");
}

#[tokio::test]
async fn an_operation_that_panics_fails_alone() {
    let (_dir, store) = open();
    let release = hold(&store);
    let calling = store.clone();
    let calls = tokio::spawn(async move {
        let before = calling.write(Lane::Turn, |tx| put(tx, "k1", 10));
        let panics = calling.write(Lane::Turn, |tx| -> Result<()> {
            put(tx, "k2", 10)?;
            panic!("a bug")
        });
        let after = calling.write(Lane::Turn, |tx| put(tx, "k3", 10));
        tokio::join!(before, panics, after)
    });
    tokio::task::yield_now().await;
    drop(release);
    let (before, panics, after) = calls.await.unwrap();
    assert!(before.is_ok() && after.is_ok());
    assert!(matches!(panics, Err(StoreError::Corrupt(_))), "{panics:?}");
    assert_eq!(kept(&store).await, ["k1", "k3"]);
}

#[tokio::test]
async fn what_ran_before_one_that_fails_takes_effect_once() {
    let (_dir, store) = open();
    let mut wakes = store.wakes();
    let release = hold(&store);
    let (told, outcomes) = mpsc::channel();
    for n in 1..=6 {
        let told = told.clone();
        let run = move |tx: &mut Tx<'_>| {
            put(tx, &format!("k{n}"), 10)?;
            tx.count("test", "runs")?;
            tx.wake(Wake::Event(PendingEvent {
                event: EventId(n),
                instance: InstanceId(n),
                due_at: 0,
            }));
            if n == 3 || n == 5 { Err(StoreError::NotFound(n.to_string())) } else { Ok(()) }
        };
        store.submit(Lane::Turn, run, move |outcome| told.send((n, outcome.is_ok())).unwrap());
    }
    drop(release);
    assert_eq!(kept(&store).await, ["k1", "k2", "k4", "k6"]);
    let outcomes: Vec<_> = outcomes.try_iter().collect();
    assert_eq!(outcomes, [(1, true), (2, true), (3, false), (4, true), (5, false), (6, true)]);
    let runs = store.write(Lane::Turn, |tx| tx.tally("test", "runs")).await.unwrap();
    assert_eq!(runs, 4);
    for n in [1, 2, 4, 6] {
        let Wake::Event(event) = wakes.recv().await.unwrap() else { panic!("another wake") };
        assert_eq!(event.event, EventId(n));
    }
    assert!(wakes.try_recv().is_err(), "and nothing else");
}

#[tokio::test]
async fn only_what_was_committed_is_told_of() {
    let (_dir, store) = open();
    let mut wakes = store.wakes();
    let event =
        |n| Wake::Event(PendingEvent { event: EventId(n), instance: InstanceId(n), due_at: 0 });
    let _ = store
        .write(Lane::Turn, move |tx| {
            tx.wake(event(1));
            Err::<(), _>(StoreError::NotFound("undone".into()))
        })
        .await;
    store
        .write(Lane::Turn, move |tx| {
            tx.wake(event(2));
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(wakes.recv().await.unwrap(), event(2));
}

#[tokio::test]
async fn a_flood_of_mail_does_not_keep_handlers_from_being_committed() {
    let (_dir, store) = open();
    let order = Arc::new(Mutex::new(Vec::new()));
    let release = hold(&store);
    for lane in [Lane::Accept, Lane::Turn] {
        for _ in 0..100 {
            let order = order.clone();
            store.submit(
                lane,
                move |_| {
                    order.lock().unwrap().push(lane);
                    Ok(())
                },
                |_| (),
            );
        }
    }
    drop(release);
    kept(&store).await;
    let order = order.lock().unwrap();
    let turns = order[..20].iter().filter(|lane| **lane == Lane::Turn).count();
    assert!((9..=11).contains(&turns), "{order:?}");
}

#[tokio::test]
async fn what_comes_after_closing_is_turned_away_and_what_came_before_is_kept() {
    let (dir, store) = open();
    let release = hold(&store);
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.write(Lane::Turn, |tx| put(tx, "k1", 10)).await }
    });
    tokio::task::yield_now().await;
    drop(release);
    let (written, ()) = tokio::join!(writing, store.close());
    written.unwrap().unwrap();
    let late = store.write(Lane::Turn, |tx| put(tx, "k2", 10)).await;
    assert!(matches!(late, Err(StoreError::Closed)));
    drop(store);
    let again = Store::open(dir.path(), Arc::new(SystemClock)).unwrap();
    assert_eq!(kept(&again).await, ["k1"]);
}
