use std::time::Duration;

use super::*;

fn load(file: Option<&str>, environment: &[(&str, &str)], flags: Vec<FlagValue>) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("angel.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).expect("written");
    }
    let mut environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    environment.push(("HOME".to_owned(), "/home/ada".to_owned()));
    Config::load(Sources { file: file.map(|_| path), flags, environment })
}

fn refusal(file: &str) -> String {
    load(Some(file), &[], vec![]).expect_err("refused").to_string()
}

#[test]
fn the_example_file_says_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/angel.toml");
    let text = std::fs::read_to_string(path).expect("config/angel.toml exists");
    assert_eq!(text, template(), "write it anew: angel config example > config/angel.toml");
}

#[test]
fn the_example_file_switched_on_gives_the_defaults() {
    let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && !line.ends_with(" =");
    let text: String = template()
        .lines()
        .map(|line| if is_setting(line) { &line[1..] } else { line })
        .fold(String::new(), |t, l| t + l + "\n");
    let loaded = load(Some(&text), &[], vec![]).expect("valid");
    let mut expected = Config::default();
    expected.general.data_dir = Some("/home/ada/.local/share/angel".into());
    assert_eq!(loaded.config, expected);
    let from_file = loaded.settings().filter(|setting| matches!(setting.origin, Origin::File(_))).count();
    assert!(from_file > 40, "only {from_file} settings were switched on");
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let file = "[http]\nlisten = \"127.0.0.1:1\"\nconnections_max = 9\nrequest_timeout = \"9s\"\n";
    let environment = [("ANGEL_HTTP_LISTEN", "127.0.0.1:2"), ("ANGEL_HTTP_CONNECTIONS_MAX", "10")];
    let flag = FlagValue { key: "http.listen", flag: "--http", text: "127.0.0.1:3".to_owned() };
    let loaded = load(Some(file), &environment, vec![flag]).expect("valid");
    assert_eq!(loaded.config.http.listen.port(), 3);
    assert_eq!(loaded.config.http.connections_max, 10);
    assert_eq!(loaded.config.http.request_timeout, Duration::from_secs(9));
    let origin = |key: &str| loaded.settings().find(|s| s.key == key).expect("exists").origin;
    assert_eq!(origin("http.listen"), Origin::Flag("--http"));
    assert_eq!(origin("http.connections_max"), Origin::Environment("ANGEL_HTTP_CONNECTIONS_MAX".to_owned()));
    assert!(matches!(origin("http.request_timeout"), Origin::File(_)));
    assert_eq!(origin("http.body_max"), Origin::Default);
}

#[test]
fn the_file_is_also_named_by_the_environment() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("other.toml");
    std::fs::write(&path, "[network]\nid = \"elsewhere\"\n").expect("written");
    let loaded = load(None, &[("ANGEL_CONFIG", path.to_str().expect("UTF-8"))], vec![]).expect("valid");
    assert_eq!(loaded.config.network.id.as_str(), "elsewhere");
    assert_eq!(loaded.unused_variables, []);
}

#[test]
fn an_unknown_key_is_named_with_its_nearest_neighbour() {
    assert!(refusal("[http]\nlisen = \"x\"").contains("unknown key \"http.lisen\""));
    assert!(refusal("[http]\nlisen = \"x\"").contains("did you mean \"http.listen\"?"));
    assert!(refusal("[htpt]\nlisten = \"x\"").contains("did you mean \"http\"?"));
    assert!(refusal("bootstrap = []").contains("did you mean \"network.bootstrap\"?"));
    assert!(!refusal("[http]\nquite_something_else = 1").contains("did you mean"));
}

#[test]
fn an_unknown_variable_is_reported_and_no_error() {
    let loaded = load(None, &[("ANGEL_HTTP_LISTN", "x"), ("ANGEL_ADMIN_PASSWORD", "x")], vec![]).expect("valid");
    let expected =
        UnusedVariable { name: "ANGEL_HTTP_LISTN".to_owned(), nearest: Some("ANGEL_HTTP_LISTEN".to_owned()) };
    assert_eq!(loaded.unused_variables, [expected]);
}

#[test]
fn a_wrong_value_is_named_with_key_value_and_source() {
    let error = load(None, &[("ANGEL_HTTP_LISTEN", "nowhere")], vec![]).expect_err("refused").to_string();
    for part in ["http.listen", "nowhere", "ANGEL_HTTP_LISTEN", "127.0.0.1:2583"] {
        assert!(error.contains(part), "{part} in: {error}");
    }
    assert!(refusal("[node]\nregion = \"mars\"").contains("\"us-east\""));
    assert!(refusal("[http]\nrequest_timeout = 30").contains("a duration"));
    assert!(refusal("[http]\nconnections_max = -1").contains("a whole number"));
    assert!(refusal("[http\n").contains("not valid TOML"));
}

#[test]
fn contradictions_are_refused_by_key() {
    assert!(refusal("[membership]\nheartbeat_jitter = \"30s\"").starts_with("membership.heartbeat_jitter"));
    assert!(refusal("[membership]\noffline_after = \"80s\"").starts_with("membership.offline_after"));
    assert!(refusal("[node]\nnode_type = \"development\"").starts_with("network.id"));
    assert!(refusal("[node]\npublic_url = \"https://example.org/angel\"").starts_with("node.public_url"));
    assert!(refusal("[node]\npublic_url = \"https://a:b@example.org\"").starts_with("node.public_url"));
    assert!(refusal("[log]\nfilter = \"info,[\"").starts_with("log.filter"));
    assert!(refusal("[http]\nconnections_max = 1").starts_with("http.connections_max (file "));
    assert!(refusal("[replicas]\narchive_every = \"10ms\"").starts_with("replicas.archive_every"));
    assert!(refusal("[replicas]\nvault_check = \"91d\"").starts_with("replicas.vault_check"));
    let did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    assert!(refusal(&format!("[network]\nallow = [\"{did}\"]\nblock = [\"{did}\"]")).contains(did));
}

#[test]
fn the_service_profile_has_its_own_defaults() {
    let loaded = load(Some("profile = \"service\""), &[], vec![]).expect("valid");
    assert_eq!(loaded.config.data_dir(), Path::new("/var/lib/angel"));
    assert!(!loaded.config.network.mdns && !loaded.config.network.upnp);
    let loaded = load(Some("profile = \"service\"\n[network]\nmdns = true"), &[], vec![]).expect("valid");
    assert!(loaded.config.network.mdns, "what the file says wins over the profile");
}

#[test]
fn the_data_directory_follows_xdg() {
    let dir = |xdg: Option<&str>, home: Option<&str>| user_data_dir(xdg.map(Into::into), home.map(Into::into));
    assert_eq!(dir(Some("/x"), Some("/h")), Some("/x/angel".into()));
    assert_eq!(dir(Some("relative"), Some("/h")), Some("/h/.local/share/angel".into()));
    assert_eq!(dir(None, Some("")), None);
}

#[test]
fn every_setting_has_a_variable_of_its_own() {
    let mut variables: Vec<_> = Config::fields().iter().map(Field::variable).collect();
    variables.sort();
    let before = variables.len();
    variables.dedup();
    assert_eq!(variables.len(), before);
}
