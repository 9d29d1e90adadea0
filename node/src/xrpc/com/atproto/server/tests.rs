//! Logins of a whole node, over HTTP.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::config::Secret;
use crate::xrpc::tests::visited::{Person, Visited};

const SERVER: &str = "com.atproto.server";
const ADDRESS: &str = "ada@mail.test";

/// A node that keeps its mail to itself: nothing listens where it would go.
async fn visited() -> Visited {
    Visited::with(|config| config.mail.smtp_url = Some(Secret::new("smtp://127.0.0.1:9".to_owned()))).await
}

/// The code that the account was sent last.
async fn code(at: &Visited, who: &Person, purpose: &str) -> String {
    let answer = at.operator("admin/accounts/code", &json!({ "account": who.did, "purpose": purpose })).await;
    answer["code"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Calls a method of sessions and accounts: 200, or the name of the refusal.
async fn call(at: &Visited, who: &Person, method: &str, body: &Value) -> Result<Value, String> {
    let asked = at.client.post(format!("{}/xrpc/{SERVER}.{method}", at.url)).bearer_auth(&who.token).json(body);
    let answer = asked.send().await.expect("answered");
    let status = answer.status();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.expect("read")).unwrap_or_default();
    match status {
        StatusCode::OK => Ok(answer),
        _ => Err(format!("{} {}", status.as_u16(), answer["error"].as_str().unwrap_or_default())),
    }
}

async fn log_in(at: &Visited, who: &Person, password: &str, code: Option<&str>) -> Result<Value, String> {
    let body = json!({ "identifier": who.did, "password": password, "authFactorToken": code.unwrap_or_default() });
    call(at, who, "createSession", &body).await
}

async fn is_on(at: &Visited, who: &Person) -> Value {
    at.send(Some(who), &format!("{SERVER}.getSession"), None).await.1["emailAuthFactor"].clone()
}

async fn confirm(at: &Visited, who: &Person) {
    call(at, who, "requestEmailConfirmation", &json!({})).await.expect("asked");
    let token = code(at, who, "confirm_email").await;
    call(at, who, "confirmEmail", &json!({ "email": ADDRESS, "token": token })).await.expect("confirmed");
}

#[tokio::test]
async fn a_login_takes_a_code_from_the_mail_where_the_owner_wants_that() {
    let at = visited().await;
    let ada = at.sign_up("ada").await;
    let wish = |wanted: bool| json!({ "email": ADDRESS, "emailAuthFactor": wanted });
    let refused = call(&at, &ada, "updateEmail", &wish(true)).await;
    assert_eq!(refused, Err("400 InvalidRequest".to_owned()), "nobody knows yet who reads that mail");
    assert_eq!(is_on(&at, &ada).await, json!(false));

    confirm(&at, &ada).await;
    call(&at, &ada, "updateEmail", &wish(true)).await.expect("switched on");
    assert_eq!(is_on(&at, &ada).await, json!(true));
    let app = call(&at, &ada, "createAppPassword", &json!({ "name": "reader" })).await.expect("made");

    let wanted = Err("401 AuthFactorTokenRequired".to_owned());
    assert_eq!(log_in(&at, &ada, "open sesame", None).await, wanted);
    assert_eq!(log_in(&at, &ada, "open sesam", None).await, Err("401 AuthenticationRequired".to_owned()));
    let sent = code(&at, &ada, "sign_in").await;
    let guessed = log_in(&at, &ada, "open sesame", Some("AAAAA-AAAAA")).await;
    assert_eq!(guessed, Err("400 InvalidToken".to_owned()));
    let stolen = log_in(&at, &ada, "another", Some(&sent)).await;
    assert_eq!(stolen, Err("401 AuthenticationRequired".to_owned()), "a code without the password");
    let session = log_in(&at, &ada, "open sesame", Some(&sent)).await.expect("let in");
    assert_eq!(session["emailAuthFactor"], true);
    assert_eq!(log_in(&at, &ada, "open sesame", Some(&sent)).await, Err("400 InvalidToken".to_owned()), "twice");
    let password = app["password"].as_str().expect("shown");
    log_in(&at, &ada, password, None).await.expect("programs read no mail");
    at.stop().await;
}

#[tokio::test]
async fn codes_at_logins_end_with_a_code_or_with_the_address() {
    let at = visited().await;
    let ada = at.sign_up("ada").await;
    confirm(&at, &ada).await;
    let set = |wanted: bool, token: Option<String>| {
        let mut wish = json!({ "email": ADDRESS.to_uppercase(), "emailAuthFactor": wanted });
        if let Some(token) = token {
            wish["token"] = token.into();
        }
        wish
    };
    call(&at, &ada, "updateEmail", &set(false, None)).await.expect("nothing to change");
    call(&at, &ada, "updateEmail", &set(true, None)).await.expect("switched on");
    let refused = call(&at, &ada, "updateEmail", &set(false, None)).await;
    assert_eq!(refused, Err("400 TokenRequired".to_owned()));
    let wrong = call(&at, &ada, "updateEmail", &set(false, Some("AAAAA-AAAAA".to_owned()))).await;
    assert_eq!(wrong, Err("400 InvalidToken".to_owned()));
    assert_eq!(is_on(&at, &ada).await, json!(true));
    let sent = code(&at, &ada, "update_email").await;
    call(&at, &ada, "updateEmail", &set(false, Some(sent))).await.expect("switched off");
    assert_eq!(is_on(&at, &ada).await, json!(false));

    call(&at, &ada, "updateEmail", &set(true, None)).await.expect("switched on");
    call(&at, &ada, "requestEmailUpdate", &json!({})).await.expect("asked");
    let token = code(&at, &ada, "update_email").await;
    let moved = json!({ "email": "ada@elsewhere.test", "emailAuthFactor": true, "token": token });
    call(&at, &ada, "updateEmail", &moved).await.expect("another address");
    assert_eq!(is_on(&at, &ada).await, json!(false), "nobody knows who reads the new address");
    log_in(&at, &ada, "open sesame", None).await.expect("let in");
    at.stop().await;
}

#[tokio::test]
async fn codes_at_logins_are_not_promised_where_no_mail_leaves() {
    let at = Visited::new().await;
    let ada = at.sign_up("ada").await;
    confirm(&at, &ada).await;
    let refused = call(&at, &ada, "updateEmail", &json!({ "email": ADDRESS, "emailAuthFactor": true })).await;
    assert_eq!(refused, Err("400 InvalidRequest".to_owned()));
    at.stop().await;
}
