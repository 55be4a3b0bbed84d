//! The files and variables around a config: where they are looked for, and who may read them.

#![allow(clippy::unwrap_used)]

use std::fs::{Permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use frontdesk_router::config::{Config, ConfigErrors};

fn no_environment(_: &str) -> Option<String> {
    None
}

fn load(folder: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let file = folder.join("frontdesk.toml");
    write(&file, text).unwrap();
    Config::load_from(Some(&file), &[], &no_environment)
}

fn file_with_mode(folder: &Path, name: &str, text: &str, mode: u32) {
    write(folder.join(name), text).unwrap();
    std::fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn without_a_file_the_defaults_apply() {
    assert_eq!(Config::load_from(None, &[], &no_environment), Ok(Config::default()));
}

#[test]
fn an_empty_file_means_the_defaults_in_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Config::default();
    expected.server.data = folder.path().join("data");
    assert_eq!(load(folder.path(), ""), Ok(expected));
}

#[test]
fn a_file_that_is_not_there_is_an_error_not_the_defaults() {
    let error = Config::load_from(Some(Path::new("/no/such.toml")), &[], &no_environment);
    assert!(error.unwrap_err().to_string().starts_with("/no/such.toml: there is no such file."));
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frontdesk.toml");
    write(&file, b"[server]\nhostname = \"caf\xe9.example\"\n").unwrap();
    let error = Config::load_from(Some(&file), &[], &no_environment).unwrap_err().to_string();
    assert!(error.ends_with("line 2 is not UTF-8. Save the file as UTF-8."), "{error}");
}

#[test]
fn the_environment_overrides_where_the_data_is() {
    let env = |name: &str| (name == "FRONTDESK_DATA").then(|| "/srv/desk".to_owned());
    let config = Config::load_from(None, &[], &env).unwrap();
    assert_eq!(config.server.data, Path::new("/srv/desk"));
    assert_eq!(config.server.control_socket(), Path::new("/srv/desk/control.sock"));
}

#[test]
fn a_secret_is_read_from_its_file_without_the_newline() {
    let folder = tempfile::tempdir().unwrap();
    file_with_mode(folder.path(), "token", "0123456789abcdef\n", 0o600);
    let config = load(folder.path(), "[http]\nmetrics_token_file = \"token\"\n").unwrap();
    assert_eq!(config.http.metrics_token.as_ref().unwrap().expose(), "0123456789abcdef");
    assert!(!format!("{config:?}").contains("0123456789abcdef"), "the secret shows in Debug");
}

#[test]
fn a_secret_from_the_environment_is_taken_and_a_second_one_from_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let env =
        |name: &str| (name == "FRONTDESK_METRICS_TOKEN").then(|| "fedcba9876543210".to_owned());
    let config = Config::load_from(None, &[], &env).unwrap();
    assert_eq!(config.http.metrics_token.unwrap().expose(), "fedcba9876543210");

    file_with_mode(folder.path(), "token", "0123456789abcdef", 0o600);
    let file = folder.path().join("frontdesk.toml");
    write(&file, "[http]\nmetrics_token_file = \"token\"\n").unwrap();
    let errors = Config::load_from(Some(&file), &[], &env).unwrap_err().to_string();
    assert!(
        errors.contains(":2:22: `metrics_token_file` and FRONTDESK_METRICS_TOKEN are both set")
    );
}

#[test]
fn secrets_that_everyone_can_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    file_with_mode(folder.path(), "token", "0123456789abcdef", 0o644);
    file_with_mode(folder.path(), "tls.crt", "certificate", 0o644);
    file_with_mode(folder.path(), "tls.key", "key", 0o604);
    let text = "[smtp]\ntls_cert_file = \"tls.crt\"\ntls_key_file = \"tls.key\"\n\
                [http]\nmetrics_token_file = \"token\"\n";
    let errors = load(folder.path(), text).unwrap_err();
    let shown = errors.to_string();
    assert_eq!(errors.problems.len(), 2, "{shown}");
    for name in ["token", "tls.key"] {
        let path = folder.path().join(name);
        let fix =
            format!("everyone on this machine can read {0}. Run: chmod o-rwx {0}", path.display());
        assert!(shown.contains(&fix), "{shown}");
    }
}

#[test]
fn a_secret_that_is_short_or_empty_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (text, why) in [("\n", "is empty."), ("short", "has fewer than 16 characters.")] {
        file_with_mode(folder.path(), "token", text, 0o600);
        let errors = load(folder.path(), "[http]\nmetrics_token_file = \"token\"\n").unwrap_err();
        assert!(errors.to_string().contains(why), "{errors}");
    }
}

#[test]
fn a_folder_is_not_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    file_with_mode(folder.path(), "tls.key", "key", 0o600);
    let text = "[smtp]\ntls_cert_file = \".\"\ntls_key_file = \"tls.key\"\n";
    let errors = load(folder.path(), text).unwrap_err().to_string();
    assert!(errors.contains("is a folder, not a file."), "{errors}");
}
