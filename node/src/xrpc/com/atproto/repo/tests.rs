//! Records of accounts elsewhere, and of times past, asked of a whole node.

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use serde_json::{Value, json};

use crate::config::Config;
use crate::node::Node;
use crate::xrpc::tests::visited::Visited;

#[tokio::test]
async fn records_of_people_elsewhere_are_asked_of_the_app_view_by_nobody_in_particular() {
    let echo = async |request: Request| {
        let headers = request.headers();
        axum::Json(json!({
            "uri": request.uri().to_string(),
            "authorized": headers.contains_key("authorization"),
            "cookie": headers.contains_key("cookie"),
        }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let app_view = format!("http://{}", listener.local_addr().expect("bound"));
    let routes = Router::new().route("/xrpc/com.atproto.repo.getRecord", get(echo));
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let path = "/xrpc/com.atproto.repo.getRecord?repo=did:plc:bob&collection=com.example.note&rkey=a";
    for chosen in [true, false] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::on_loopback(dir.path());
        if chosen {
            config.services.app_view_did = Some("did:web:view.example".parse().expect("a DID"));
            config.services.app_view_url = Some(app_view.parse().expect("a URL"));
        }
        let node = Node::start(config).await.expect("starts");
        let url = format!("{}{path}", node.facts().run_file().http_url);
        let request = reqwest::Client::new().get(url).header("cookie", "a=b").bearer_auth("of this host");
        let answer = request.send().await.expect("answered");
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"));
        if chosen {
            assert_eq!((status, body), (200, json!({ "uri": path, "authorized": false, "cookie": false })));
        } else {
            assert_eq!((status, &body["error"]), (400, &json!("RecordNotFound")));
        }
        node.shutdown().await.expect("stops");
    }
}

#[tokio::test]
async fn a_profile_of_old_keeps_its_picture() {
    let at = Visited::new().await;
    let ada = at.sign_up("ada").await;
    let picture = at.client.post(format!("{}/xrpc/com.atproto.repo.uploadBlob", at.url)).bearer_auth(&ada.token);
    let picture = picture.header("content-type", "image/png").body(b"\x89PNG\r\n\x1a\n a picture".to_vec());
    let uploaded: Value = picture.send().await.expect("answered").json().await.expect("JSON");
    let blob = &uploaded["blob"];
    let put = async |cid: &Value| {
        let avatar = json!({ "cid": cid, "mimeType": "image/png" });
        let wish = json!({ "repo": ada.did, "collection": "app.bsky.actor.profile", "rkey": "self",
            "record": { "$type": "app.bsky.actor.profile", "displayName": "Ada", "avatar": avatar } });
        at.send(Some(&ada), "com.atproto.repo.putRecord", Some(&wish)).await
    };
    let unheard = json!("bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy");
    assert_eq!(put(&unheard).await.0, 400, "nobody knows the size of a file that is not here");
    let (status, answer) = put(&blob["ref"]["$link"]).await;
    assert_eq!(status, 200, "{answer}");
    let path = format!("com.atproto.repo.getRecord?repo={}&collection=app.bsky.actor.profile&rkey=self", ada.did);
    let (_, kept) = at.send(None, &path, None).await;
    assert_eq!(&kept["value"]["avatar"], blob);
    at.stop().await;
}
