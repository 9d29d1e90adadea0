//! An app that reads the room of a private space for a member: what is said there, with what is attached to it.

use super::business::Business;
use super::*;

/// The collection of files.
const MEDIA: &str = "co.kendev.content.media";

#[tokio::test]
async fn a_member_reads_the_room_of_a_private_space_with_a_credential_and_a_removed_one_does_not() -> Result<()> {
    let Hosts { hosts: [first, second, third], _root } = Hosts::start()?;
    let (bob, carol, eve) = (second.sign_up("bob").await?, third.sign_up("carol").await?, second.sign_up("eve").await?);
    let business = Business::open(&first, &[(&second, &bob), (&third, &carol)]).await?;
    // A picture that lies in the room as the message does, and a message that names it and has something to click.
    let room: SpaceUri = business.office.replace("co.kendev.spaces.space", "space/co.kendev.spaces.room").parse()?;
    let picture = second.client.post(format!("{}/xrpc/com.atproto.repo.uploadBlob", second.url));
    let picture = picture.header("Content-Type", "image/png").body(b"\x89PNG\r\n\x1a\n with a secret".to_vec());
    let blob = second.answer(picture.bearer_auth(&bob.token)).await?["blob"].clone();
    let cid = blob["ref"]["$link"].as_str().context("a blob")?.to_owned();
    let media = json!({ "$type": MEDIA, "file": blob, "alt": "a secret", "createdAt": "2026-11-21T12:00:00.000Z" });
    let media = second.write(&bob, &room, MEDIA, &media).await.context("the picture's record is written")?;
    let key = media["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).context("a key")?;
    let attached = format!("at://{}/{MEDIA}/{key}", bob.did);
    let card = json!({ "$type": "co.kendev.spaces.message#widgetCard", "title": "Look at this", "image": attached });
    let message = json!({ "space": business.office, "attachments": [attached],
        "content": { "type": "widget", "text": "a card", "widgets": [card] } });
    let sent = second.post("co.kendev.spaces.sendMessage", &message).bearer_auth(&bob.token);
    let sent = second.answer(sent).await.context("the message is sent")?;
    let rkey = sent["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).context("a key")?.to_owned();

    // The room's list follows the memberships of the space.
    let admitted = async || Ok(Reader::admitted(&third, &carol, &first, &room).await.ok());
    let (app, _) = until("a member's app is let into the room", PATIENCE, admitted).await?;
    let records = app.list(&second, &bob.did).await?;
    let found =
        records.iter().find(|record| record["rkey"] == rkey).with_context(|| format!("{rkey}: {records:#?}"))?;
    ensure!(found["value"]["content"]["widgets"][0] == card, "{found}");
    ensure!(found["value"]["attachments"][0] == attached, "{found}");
    ensure!(app.blob(&second, &bob.did, &cid).await?.ends_with(b"with a secret"), "the picture");
    // The same as the space's own method tells it.
    let listed = async || {
        let list = first.get("co.kendev.spaces.listMessages", &[("space", &business.office)]);
        let list = first.answer(list.bearer_auth(&business.owner.token)).await?;
        let messages = list["messages"].as_array().context("a list")?.clone();
        Ok(messages.into_iter().find(|message| message["value"]["content"]["widgets"][0] == card))
    };
    let (told, _) = until("the space's node tells the message", PATIENCE, listed).await?;
    ensure!(told["value"]["attachments"][0] == attached, "{told}");

    // Whoever is no member is told that there is no such room, and so is the member, once removed.
    let (status, body) = Reader::refused(&second, &eve, &first, &room).await?;
    ensure!(status == 400 && name(&body) == "SpaceNotFound", "{status}: {body}");
    let ban = json!({ "space": business.office, "user": carol.did });
    first.answer(first.post("co.kendev.spaces.banMember", &ban).bearer_auth(&business.owner.token)).await?;
    let gone = async || {
        let (status, body) = app.try_list(&second, &bob.did).await?;
        Ok((status == 401 && name(&body) == "CredentialRevoked").then_some(()))
    };
    until("the credential of a removed member counts no more", PATIENCE, gone).await?;
    let (status, body) = Reader::refused(&third, &carol, &first, &room).await?;
    ensure!(status == 400 && name(&body) == "SpaceNotFound", "{status}: {body}");
    Ok(())
}
