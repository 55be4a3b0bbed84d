//! Secrets on disk.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use frontdesk_router::keys::{Error, KeyStore, RETIRED_KEY_DAYS};
use frontdesk_router::token::{Day, Purpose, Reference, Rejected, mint, verify};
use jiff::{SignedDuration, Timestamp};

fn day(number: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_hours(24 * number)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn store(home: &tempfile::TempDir) -> KeyStore {
    KeyStore::open(home.path().join("keys")).unwrap()
}

#[test]
fn the_first_run_makes_owner_only_keys_and_the_second_reads_them() {
    let home = tempfile::tempdir().unwrap();
    let first = store(&home).token_keys(day(0)).unwrap();
    assert_eq!(mode(&home.path().join("keys")), 0o700);
    assert_eq!(mode(&home.path().join("keys/tokens.json")), 0o600);
    let token = mint(&first, Purpose::Reply, "a", "d.example", Reference(1), Day::NEVER);
    let second = store(&home).token_keys(day(1)).unwrap();
    let result = verify(&second, Purpose::Reply, "a", "d.example", &token, Day(0));
    assert_eq!(result, Ok(Reference(1)));
    assert_eq!(fs::read_dir(home.path().join("keys")).unwrap().count(), 1, "no leftovers");
}

#[test]
fn rotation_signs_anew_and_keeps_old_mail_answerable_for_twice_the_lifetime() {
    let home = tempfile::tempdir().unwrap();
    let store = store(&home);
    let first = store.token_keys(day(0)).unwrap();
    let token = mint(&first, Purpose::Reply, "a", "d.example", Reference(1), Day::NEVER);
    let check = |keys| verify(&keys, Purpose::Reply, "a", "d.example", &token, Day(0));

    let second = store.rotate_tokens(day(10)).unwrap();
    assert_ne!(second.signing_id(), first.signing_id());
    assert_eq!(check(second), Ok(Reference(1)));
    assert_eq!(check(store.token_keys(day(10)).unwrap()), Ok(Reference(1)));

    let last_day = 10 + i64::from(RETIRED_KEY_DAYS);
    assert_eq!(check(store.rotate_tokens(day(last_day)).unwrap()), Ok(Reference(1)));
    let dropped = store.rotate_tokens(day(last_day + 1)).unwrap();
    assert_eq!(check(dropped), Err(Rejected::Invalid));
    let infos = store.token_key_infos().unwrap();
    assert_eq!(infos.iter().filter(|info| info.retired.is_none()).count(), 1);
}

#[test]
fn a_full_ring_refuses_to_rotate_and_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = store(&home);
    let first = store.token_keys(day(0)).unwrap();
    for _ in 0..31 {
        store.rotate_tokens(day(0)).unwrap();
    }
    assert!(matches!(store.rotate_tokens(day(0)), Err(Error::RingFull)));
    let keys = store.token_keys(day(0)).unwrap();
    assert_eq!(keys.ids().count(), 32);
    assert!(keys.ids().any(|id| id == first.signing_id()));
}

#[test]
fn what_others_can_read_is_refused_with_the_repair() {
    let home = tempfile::tempdir().unwrap();
    let store = store(&home);
    store.token_keys(day(0)).unwrap();
    let file = home.path().join("keys/tokens.json");
    for bits in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&file, fs::Permissions::from_mode(bits)).unwrap();
        let error = store.token_keys(day(0)).unwrap_err().to_string();
        assert!(error.ends_with(&format!("chmod 600 {}", file.display())), "{error}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    store.token_keys(day(0)).unwrap();
    let dir = home.path().join("keys");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let error = KeyStore::open(&dir).unwrap_err().to_string();
    assert!(error.ends_with(&format!("chmod 700 {}", dir.display())), "{error}");
}

#[test]
fn a_damaged_file_is_named_and_never_replaced_or_quoted() {
    let home = tempfile::tempdir().unwrap();
    let store = store(&home);
    store.token_keys(day(0)).unwrap();
    let file = home.path().join("keys/tokens.json");
    let good = fs::read_to_string(&file).unwrap();
    let secret = good.split("\"secret\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(secret.len(), 64);
    for bad in [
        String::new(),
        good[..good.len() / 2].to_owned(),
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace(&secret, &secret[2..]),
        good.replace("\"id\": 0", "\"id\": 32"),
        good.replace("\"retired\": null", "\"retired\": \"2026-01-01T00:00:00Z\""),
        format!("{{\"version\":1,\"keys\":\"{secret}\"}}"),
        "{\"version\":1,\"keys\":[]}".to_owned(),
    ] {
        fs::write(&file, &bad).unwrap();
        let error = store.token_keys(day(0)).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains(&secret[2..20]));
        assert!(store.rotate_tokens(day(0)).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), bad, "left for repair");
    }
}

#[test]
fn dkim_keys_are_made_once_and_new_ones_sign_only_when_activated() {
    let home = tempfile::tempdir().unwrap();
    let store = store(&home);
    let (selector, keys) = store.dkim("Desk.example", day(0)).unwrap();
    assert_eq!(selector, "fd20270115");
    let dir = home.path().join("keys/dkim/desk.example");
    assert_eq!(mode(&dir), 0o700);
    for file in ["current", "fd20270115.rsa.pem", "fd20270115.ed25519.pem"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    let (again, same) = store.dkim("desk.example", day(99)).unwrap();
    let records = keys.dns_records(&selector, "desk.example").unwrap();
    assert_eq!(again, selector);
    assert_eq!(same.dns_records(&selector, "desk.example").unwrap(), records);
    assert_eq!(store.dkim_records("desk.example", &selector).unwrap(), records);

    let next = store.generate_dkim("desk.example", day(0)).unwrap();
    assert_eq!(next, "fd20270115-2");
    assert_eq!(store.dkim("desk.example", day(0)).unwrap().0, selector);
    store.activate_dkim("desk.example", &next).unwrap();
    assert_eq!(store.dkim("desk.example", day(0)).unwrap().0, next);
    assert_eq!(store.signer("desk.example", day(0)).unwrap().domain(), "desk.example");

    assert!(store.activate_dkim("desk.example", "absent").is_err());
    assert_eq!(store.dkim("desk.example", day(0)).unwrap().0, next, "nothing changed");
}

#[test]
fn names_cannot_leave_the_folder() {
    let home = tempfile::tempdir().unwrap();
    let store = store(&home);
    for bad in ["", ".", "..", "../x", "a/b", "/etc", "a..b", "a\0b", ".hidden", "bücher.example"]
    {
        assert!(matches!(store.generate_dkim(bad, day(0)), Err(Error::Name(_))), "{bad:?}");
        assert!(matches!(store.activate_dkim("desk.example", bad), Err(Error::Name(_))), "{bad:?}");
    }
}
