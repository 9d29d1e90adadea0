//! One daemon as a process: how it starts, refuses to start, is asked, and ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use angel_harness::binary::{Daemon, Launch, PATIENCE, command, verb};
use angel_protocol::crypto::NodeKey;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks that a start failed with this code and these words, and left no `node.json`.
fn assert_refused(output: &Output, data_dir: &Path, code: i32, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in: {said}");
    }
    assert_eq!(text(&output.stdout), "", "nothing is ready, so nothing is announced");
    assert!(!data_dir.join("run/node.json").exists());
}

fn run_file(data_dir: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(data_dir.join("run/node.json"))?)?)
}

/// A connection to the daemon's HTTP with a request of which only the beginning was sent.
fn half_a_request(daemon: &Daemon, data_dir: &Path) -> Result<TcpStream> {
    let body = "{\"filter\":\"debug\"}";
    let password = fs::read_to_string(data_dir.join("secrets/admin.password"))?;
    let credentials = STANDARD.encode(format!("admin:{password}"));
    let addr = daemon.fact("httpUrl").strip_prefix("http://").context("an http URL")?;
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST /admin/log HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // The interim answer shows that the handler is at work and waits for the body.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim)?;
    ensure!(interim.starts_with(b"HTTP/1.1 100"), "it said {}", text(&interim));
    Ok(stream)
}

#[test]
fn it_starts_on_an_empty_directory_and_says_how_to_reach_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let daemon = Launch::in_dir(&data_dir).start()?;
    println!("ready after {:?}", daemon.started_within());
    assert_eq!(run_file(&data_dir)?, *daemon.facts(), "the file and the announcement say the same");
    assert_eq!(daemon.facts()["pid"].as_i64(), Some(daemon.pid().as_raw_nonzero().get().into()));
    assert!(daemon.fact("did").starts_with("did:key:z6Mk") && daemon.fact("peerId").starts_with("12D3KooW"));
    let mut keys: Vec<_> = daemon.facts().as_object().context("an object")?.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["adminPasswordFile", "did", "httpUrl", "p2p", "peerId", "pid", "version"]);

    let mode = |path: &Path| fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777);
    assert_eq!(mode(&data_dir.join("secrets"))?, 0o700);
    for entry in fs::read_dir(data_dir.join("secrets"))? {
        assert_eq!(mode(&entry?.path())?, 0o600);
    }

    let status = verb(&data_dir, &["status", "--json"])?;
    let status: Value = serde_json::from_slice(&status.stdout)?;
    assert_eq!(status["node"]["did"], daemon.facts()["did"]);
    // Alone, and saying so.
    let services = serde_json::json!({
        "backup": "off", "consensus": "ok", "disk": "ok", "federation": "off", "identity": "ok", "storage": "ok",
    });
    assert_eq!(status["health"]["services"], services);
    assert!(daemon.stop()?.success());
    Ok(())
}

#[test]
fn without_a_verb_the_node_runs() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut child = command(dir.path());
    child.arg("--data-dir").arg(dir.path().join("data")).env("ANGEL_HTTP_LISTEN", "127.0.0.1:0");
    child.env("ANGEL_NETWORK_LISTEN", "/ip4/127.0.0.1/tcp/0").env("ANGEL_NETWORK_MDNS", "false");
    child.env("ANGEL_NETWORK_UPNP", "false").stdout(std::process::Stdio::piped());
    let mut child = child.spawn()?;
    let mut facts = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().context("piped")?), &mut facts)?;
    let killed = child.kill();
    child.wait()?;
    killed?;
    assert!(serde_json::from_str::<Value>(&facts)?["did"].is_string(), "{facts}");
    Ok(())
}

#[test]
fn idle_it_stays_small() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let daemon = Launch::in_dir(dir.path()).start()?;
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero()))?;
    // What it took for itself. The code's own pages do not count: an unoptimised binary is several times the size.
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("the anonymous size")?;
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    println!("taken after the start: {} KiB", kib);
    assert!(kib < 60 << 10, "{kib} KiB");
    Ok(())
}

#[test]
fn both_signals_stop_it_cleanly_and_the_identity_stays() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut dids = vec![];
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Launch::in_dir(dir.path()).start()?;
        dids.push(daemon.fact("did").to_owned());
        daemon.signal(signal)?;
        assert_eq!(daemon.wait()?.code(), Some(0), "{:?}", daemon.log());
        assert!(!dir.path().join("run/node.json").exists(), "a clean stop removes it");
    }
    assert_eq!(dids[0], dids[1]);
    Ok(())
}

#[test]
fn a_request_under_way_is_finished_before_it_ends() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let daemon = Launch::in_dir(dir.path()).start()?;
    let mut stream = half_a_request(&daemon, dir.path())?;
    daemon.signal(Signal::TERM)?;
    daemon.wait_for_log("SIGTERM: stopping")?;
    stream.write_all(b"{\"filter\":\"debug\"}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(daemon.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn a_client_that_never_finishes_does_not_hold_up_the_stop() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let daemon = Launch::in_dir(dir.path()).start()?;
    let _stream = half_a_request(&daemon, dir.path())?;
    daemon.signal(Signal::TERM)?;
    daemon.wait_for_log("cutting off HTTP requests")?;
    assert_eq!(daemon.wait()?.code(), Some(0), "what a client does is no failure of ours");
    Ok(())
}

#[test]
fn a_second_signal_ends_it_at_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (first, second, code) in [(Signal::TERM, Signal::TERM, 143), (Signal::TERM, Signal::INT, 130)] {
        let daemon = Launch::in_dir(dir.path()).start()?;
        let _stream = half_a_request(&daemon, dir.path())?;
        daemon.signal(first)?;
        daemon.wait_for_log("SIGTERM: stopping")?;
        daemon.signal(second)?;
        assert_eq!(daemon.wait()?.code(), Some(code));
        assert!(!daemon.log().iter().any(|line| line.contains("cutting off")), "it did not wait for the client");
    }
    Ok(())
}

#[test]
fn what_a_killed_daemon_left_behind_misleads_nobody() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let killed = Launch::in_dir(dir.path()).start()?;
    killed.signal(Signal::KILL)?;
    assert_eq!(killed.wait()?.signal(), Some(9));
    assert!(dir.path().join("run/node.json").exists());
    let status = verb(dir.path(), &["status"])?;
    assert_eq!(status.status.code(), Some(13), "{}", text(&status.stderr));

    let next = Launch::in_dir(dir.path()).start()?;
    assert_eq!(next.fact("did"), killed.fact("did"));
    assert_eq!(run_file(dir.path())?["pid"], next.facts()["pid"]);
    Ok(())
}

#[test]
fn a_second_daemon_is_told_who_has_the_directory() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let first = Launch::in_dir(dir.path()).start()?;
    let second = Launch::in_dir(dir.path()).fail()?;
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(6), "{said}");
    assert!(said.contains(&format!("process {}", first.pid().as_raw_nonzero())), "{said}");
    assert_eq!(run_file(dir.path())?, *first.facts(), "the first one's facts are untouched");
    Ok(())
}

#[test]
fn a_taken_port_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let addr = taken.local_addr()?.to_string();
    let output = Launch::in_dir(dir.path()).args(["--http", &addr]).fail()?;
    assert_refused(&output, dir.path(), 10, &[&addr, "--http"]);
    Ok(())
}

#[test]
fn configuration_errors_name_the_key() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (data_dir, file) = (dir.path().join("data"), dir.path().join("angel.toml"));
    let start = |content: &str| -> Result<Output> {
        fs::write(&file, content)?;
        Launch::in_dir(&data_dir).args(["--config".as_ref(), file.as_os_str()]).fail()
    };
    assert_refused(&start("[http]\nlisten_on = 1\n")?, &data_dir, 3, &["http.listen_on", "angel.toml"]);
    assert_refused(&start("[netwrok]\nid = \"x\"\n")?, &data_dir, 3, &["did you mean \"network\"?"]);
    assert_refused(&start("[http]\nrequest_timeout = \"soon\"\n")?, &data_dir, 4, &["http.request_timeout", "\"30s\""]);
    assert_refused(&start("[http\n")?, &data_dir, 4, &["not valid TOML", "line 1"]);
    fs::remove_file(&file)?;
    let output = Launch::in_dir(&data_dir).args(["--config".as_ref(), file.as_os_str()]).fail()?;
    assert_refused(&output, &data_dir, 4, &["angel.toml", "No such file"]);
    let output = Launch::in_dir(&data_dir).env("ANGEL_HTTP_CONNECTIONS_MAX", "many").fail()?;
    assert_refused(&output, &data_dir, 4, &["http.connections_max", "ANGEL_HTTP_CONNECTIONS_MAX"]);
    let output = Launch::in_dir(&data_dir).args(["--no-such-flag"]).fail()?;
    assert_eq!(output.status.code(), Some(2));
    assert!(!data_dir.exists(), "a refused configuration makes nothing");
    Ok(())
}

#[test]
fn an_unusable_directory_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    fs::write(&file, "not a directory")?;
    let below = file.join("data");
    let output = Launch::in_dir(&below).fail()?;
    assert_refused(&output, &below, 5, &["file/data", "--data-dir"]);
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign)?;
    fs::write(foreign.join("thesis.tex"), "text")?;
    assert_refused(&Launch::in_dir(&foreign).fail()?, &foreign, 5, &["not empty"]);
    if !rustix::process::geteuid().is_root() {
        let closed = dir.path().join("closed");
        fs::create_dir(&closed)?;
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500))?;
        assert_refused(&Launch::in_dir(&closed).fail()?, &closed, 5, &["closed", "writable"]);
    }
    Ok(())
}

#[test]
fn damaged_newer_and_exposed_data_is_refused_by_name() -> Result<()> {
    let dir = tempfile::tempdir()?;
    assert!(Launch::in_dir(dir.path()).start()?.stop()?.success());
    let (version, key) = (dir.path().join("VERSION"), dir.path().join("secrets/node.key"));
    let good_key = fs::read_to_string(&key)?;

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let output = Launch::in_dir(dir.path()).fail()?;
    assert_refused(&output, dir.path(), 9, &["node.key", "0644", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;

    let secret = good_key.lines().last().context("three lines")?;
    fs::write(&key, good_key.replace(secret, &secret[..secret.len() - 2]))?;
    let output = Launch::in_dir(dir.path()).fail()?;
    assert_refused(&output, dir.path(), 8, &["node.key", "damaged"]);
    assert!(!text(&output.stderr).contains(&secret[8..40]), "the message keeps the secret");
    assert_ne!(fs::read_to_string(&key)?, good_key, "a damaged key is not replaced by a new one");
    fs::write(&key, &good_key)?;

    let good_version = fs::read_to_string(&version)?;
    fs::write(&version, "angel data 99\n")?;
    assert_refused(&Launch::in_dir(dir.path()).fail()?, dir.path(), 7, &["newer release", "99"]);
    fs::write(&version, "angel")?;
    assert_refused(&Launch::in_dir(dir.path()).fail()?, dir.path(), 8, &["VERSION", "damaged"]);
    fs::write(&version, good_version)?;
    assert!(Launch::in_dir(dir.path()).start()?.stop()?.success(), "and well again");
    Ok(())
}

#[test]
fn a_rotation_starts_it_anew_under_the_new_key() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut daemon = Launch::in_dir(dir.path()).start()?;
    let (old_did, old_url) = (daemon.fact("did").to_owned(), daemon.fact("httpUrl").to_owned());
    let rotated = verb(dir.path(), &["identity", "rotate", "--json"])?;
    let rotated: Value = serde_json::from_slice(&rotated.stdout).with_context(|| text(&rotated.stderr))?;
    assert_eq!(rotated["previous"], old_did.as_str());
    daemon.next_announcement()?;
    assert_eq!(rotated["current"], daemon.fact("did"));
    assert_eq!(daemon.fact("httpUrl"), old_url, "a restart keeps the port");
    let shown = verb(dir.path(), &["identity", "show", "--json"])?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    assert_eq!(shown["did"], daemon.fact("did"));
    assert_eq!(shown["previous"][0]["did"], old_did.as_str());
    assert!(daemon.stop()?.success());

    let offline = verb(dir.path(), &["identity", "rotate", "--json"])?;
    let offline: Value = serde_json::from_slice(&offline.stdout).with_context(|| text(&offline.stderr))?;
    assert_eq!(offline["previous"], rotated["current"]);
    assert_eq!(Launch::in_dir(dir.path()).start()?.fact("did"), offline["current"]);
    Ok(())
}

#[test]
fn the_log_is_json_when_asked_and_holds_no_secret() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let launch = Launch::in_dir(dir.path()).args(["--log-format", "json"]).env("ANGEL_LOG_FILTER", "trace");
    let daemon = launch.env("ANGEL_ADMIN_PASSWORD", "correct horse battery").start()?;
    assert_eq!(daemon.facts()["adminPasswordFile"], Value::Null, "no file holds the password of the environment");
    let wrong = verb(dir.path(), &["status"])?;
    assert_eq!(wrong.status.code(), Some(14), "{}", text(&wrong.stderr));
    let status = command(dir.path())
        .args(["status", "--data-dir"])
        .arg(dir.path())
        .env("ANGEL_ADMIN_PASSWORD", "correct horse battery")
        .output()?;
    assert!(status.status.success(), "{}", text(&status.stderr));
    assert!(daemon.stop()?.success());
    let key = fs::read_to_string(dir.path().join("secrets/node.key"))?;
    let secret = key.lines().last().and_then(|line| line.strip_prefix("secret: ")).context("the secret")?;
    let log = daemon.log();
    assert!(log.len() > 3, "{log:?}");
    for line in log {
        serde_json::from_str::<Value>(&line).with_context(|| line.clone())?;
        assert!(!line.contains("correct horse") && !line.contains(secret), "{line}");
    }
    Ok(())
}

#[test]
fn the_store_of_a_stopped_node_is_checked_compacted_and_converted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let answer = |words: &[&str]| -> Result<Value> {
        let output = verb(dir.path(), words)?;
        ensure!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let missing = verb(dir.path(), &["storage", "verify"])?;
    assert_eq!(missing.status.code(), Some(5), "{}", text(&missing.stderr));

    let daemon = Launch::in_dir(dir.path()).start()?;
    for words in [&["storage", "verify"][..], &["storage", "compact"], &["storage", "convert", "--to", "fjall"]] {
        let refused = verb(dir.path(), words)?;
        assert_eq!(refused.status.code(), Some(6), "{}", text(&refused.stderr));
    }
    assert!(daemon.stop()?.success());

    let verified = answer(&["storage", "verify", "--json"])?;
    assert_eq!((&verified["engine"], &verified["sound"]), (&"sled".into(), &true.into()));
    let rows = verified["rows"].as_object().context("rows by table")?.values().filter_map(Value::as_u64).sum::<u64>();
    assert!(rows > 2, "the daemon left rows of its own: {verified}");
    assert_eq!(answer(&["storage", "compact", "--json"])?["rows"], rows);
    answer(&["storage", "convert", "--to", "fjall", "--json"])?;
    let output = Launch::in_dir(dir.path()).fail()?;
    assert_refused(&output, dir.path(), 4, &["storage.engine = \"fjall\""]);
    let daemon = Launch::in_dir(dir.path()).env("ANGEL_STORAGE_ENGINE", "fjall").start()?;
    assert!(daemon.stop()?.success());
    assert_eq!(answer(&["storage", "verify", "--json"])?["engine"], "fjall");
    Ok(())
}

#[test]
fn a_damaged_store_is_not_started_afresh() -> Result<()> {
    let dir = tempfile::tempdir()?;
    assert!(Launch::in_dir(dir.path()).start()?.stop()?.success());
    let manifest = dir.path().join("storage/manifest.json");
    let good = fs::read_to_string(&manifest)?;
    fs::write(&manifest, good.replace("\"closed\"", "\"open\""))?;
    assert_refused(&Launch::in_dir(dir.path()).fail()?, dir.path(), 8, &["manifest", "damaged"]);
    fs::remove_file(&manifest)?;
    assert_refused(&Launch::in_dir(dir.path()).fail()?, dir.path(), 8, &["no manifest"]);
    fs::write(&manifest, &good)?;
    assert!(Launch::in_dir(dir.path()).start()?.stop()?.success());
    Ok(())
}

#[test]
fn the_doctor_names_what_is_wrong_and_the_mend() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let ask = |http: std::net::SocketAddr| -> Result<(Option<i32>, Value)> {
        let mut command = command(dir.path());
        command.args(["doctor", "--json", "--data-dir"]).arg(&data_dir).env("ANGEL_HTTP_LISTEN", http.to_string());
        command.env("ANGEL_NETWORK_LISTEN", "/ip4/127.0.0.1/tcp/0").env("ANGEL_HTP_LISTEN", "x");
        let output = command.output()?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout)?))
    };
    let find = |answer: &Value, level: &str, check: &str| -> Vec<String> {
        let findings = answer["findings"].as_array().cloned().unwrap_or_default();
        let fits = |finding: &&Value| finding["level"] == level && finding["check"] == check;
        findings.iter().filter(fits).map(ToString::to_string).collect()
    };

    let (code, answer) = ask(free)?;
    assert_eq!(code, Some(0), "{answer}");
    assert!(find(&answer, "warning", "config")[0].contains("ANGEL_HTTP_LISTEN"), "{answer}");
    assert!(!data_dir.exists(), "looking changes nothing");

    let daemon = Launch::in_dir(&data_dir).start()?;
    let (code, answer) = ask(taken.local_addr()?)?;
    assert_eq!(code, Some(0), "{answer}");
    assert_eq!(find(&answer, "ok", "health").len(), 1, "{answer}");
    assert!(daemon.stop()?.success());

    let key = data_dir.join("secrets/node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640))?;
    let (code, answer) = ask(taken.local_addr()?)?;
    assert_eq!(code, Some(15), "{answer}");
    assert!(find(&answer, "problem", "secrets")[0].contains("chmod 600"), "{answer}");
    assert!(find(&answer, "problem", "http")[0].contains("http.listen"), "{answer}");
    Ok(())
}

#[test]
fn a_genesis_is_taken_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (data_dir, genesis) = (dir.path().join("data"), dir.path().join("genesis.json"));
    let launch = || Launch::in_dir(&data_dir).args(["--genesis".as_ref(), genesis.as_os_str()]);
    assert_refused(&launch().fail()?, &data_dir, 4, &["genesis.json"]);
    fs::write(&genesis, "{\"network\":\"angel\"}")?;
    assert_refused(&launch().fail()?, &data_dir, 4, &["is no genesis"]);
    let found = |tokens: &str| {
        let (file, wallet) = (genesis.display().to_string(), format!("{}={tokens}", dir.path().join("key").display()));
        let validator = format!("{}=validator-001", NodeKey::from_seed(&[1; 32]).did());
        let words = ["network", "create", &file, "--network", "angel", "--validator", &validator, "--wallet", &wallet];
        verb(&data_dir, &words)
    };
    assert!(found("1")?.status.success());
    assert!(launch().start()?.stop()?.success());
    assert!(launch().start()?.stop()?.success());
    assert!(found("2")?.status.success());
    assert_refused(&launch().fail()?, &data_dir, 4, &["cannot change its genesis"]);
    Ok(())
}

#[test]
fn verbs_answer_without_a_daemon_and_without_a_terminal() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (words, code) in [
        (&["status"][..], 13),
        (&["identity", "show"], 9),
        (&["config", "show"], 0),
        (&["config", "example"], 0),
        (&["completions", "bash"], 0),
        (&["--version"], 0),
        (&["help"], 0),
        (&["no-such-verb"], 2),
    ] {
        let output = command(dir.path()).args(words).output()?;
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        let (out, err) = (output.stdout.is_empty(), output.stderr.is_empty());
        assert!(if code == 0 { !out && err } else { out && !err }, "{words:?}: data on one, words on the other");
    }
    let failed = command(dir.path()).args(["status", "--json"]).output()?;
    let error: Value = serde_json::from_slice(&failed.stderr)?;
    assert_eq!(error["error"], "NotRunning");
    Ok(())
}

#[test]
fn a_start_without_configuration_is_quick() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut times: Vec<Duration> = vec![];
    // Other tests run beside this one, so one quick start of ten is enough; a slow one is slow every time.
    for start in 0..10 {
        let data_dir = dir.path().join(start.to_string());
        let daemon = Launch::in_dir(&data_dir).start()?;
        times.push(daemon.started_within());
        assert!(daemon.stop()?.success());
        if times[start] < Duration::from_secs(1) {
            println!("ready after {times:?}");
            return Ok(());
        }
    }
    anyhow::bail!("none of ten starts took less than a second: {times:?}")
}
