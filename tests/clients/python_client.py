"""The Python client against a host: sign-up, sign-in, posts, blobs, lists, export, and the event stream decoded.

    scripts/clients python TARGET

Another family of code than the official one (its own CBOR, CAR and CID readers), so that both cannot share a mistake.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import queue
import secrets
import sys
import threading
from typing import Any, Callable

import httpx
from atproto import (
    CAR,
    CID,
    Client,
    FirehoseSubscribeReposClient,
    models,
    parse_subscribe_repos_message,
)
from atproto.exceptions import AtProtocolError

WAIT_SECONDS = 20
POST = "app.bsky.feed.post"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Checks:
    """One line per check, a sum at the end, and an exit code that says whether all held."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def check(self, name: str, body: Callable[[], Any]) -> Any:
        try:
            value = body()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is a failed check.
            self.failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {' '.join(str(error).split())[:400]}", flush=True)
            return None
        self.passed += 1
        print(f"ok    {name}", flush=True)
        return value

    def finish(self) -> int:
        print(f"{self.passed} passed, {self.failed} failed, 0 skipped", flush=True)
        return 0 if self.failed == 0 and self.passed > 0 else 1


def read_target(argument: str) -> dict[str, Any]:
    if os.path.exists(argument):
        with open(argument, encoding="utf-8") as file:
            target = json.load(file)
    else:
        target = json.loads(argument)
    target["url"] = target["url"].rstrip("/")
    return target


def invitation(target: dict[str, Any]) -> str | None:
    """An invitation code, where the host asks for one."""
    xrpc = target["url"] + "/xrpc/com.atproto.server."
    if not httpx.get(xrpc + "describeServer").raise_for_status().json().get("inviteCodeRequired"):
        return None
    word = base64.b64encode(f"admin:{target['adminPassword']}".encode()).decode()
    answer = httpx.post(xrpc + "createInviteCode", json={"useCount": 1}, headers={"authorization": f"Basic {word}"})
    return answer.raise_for_status().json()["code"]


class Stream:
    """The event stream of a host, read in a thread of its own from a cursor on."""

    def __init__(self, target: dict[str, Any], cursor: int | None) -> None:
        base = target["url"].replace("http", "ws", 1) + "/xrpc"
        params = None if cursor is None else models.ComAtprotoSyncSubscribeRepos.Params(cursor=cursor)
        self._client = FirehoseSubscribeReposClient(params, base_uri=base)
        self._events: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            self._client.start(lambda frame: self._events.put(parse_subscribe_repos_message(frame)), self._events.put)
        except Exception as error:  # noqa: BLE001 - it is raised where the event is awaited.
            self._events.put(error)

    def until(self, test: Callable[[Any], bool]) -> Any:
        while True:
            event = self._events.get(timeout=WAIT_SECONDS)
            if isinstance(event, Exception):
                raise event
            if test(event):
                return event

    def stop(self) -> None:
        self._client.stop()


def equal(found: Any, wanted: Any) -> None:
    if found != wanted:
        raise AssertionError(f"{found!r} is not {wanted!r}")


def run(target: dict[str, Any], checks: Checks) -> None:
    client = Client(base_url=target["url"] + "/xrpc")
    name = "py" + secrets.token_hex(5)
    handle = name + target["handleDomain"]
    password = secrets.token_hex(8)
    stream = Stream(target, cursor=0)

    def create() -> str:
        data = models.ComAtprotoServerCreateAccount.Data(
            handle=handle, email=f"{name}@example.com", password=password, invite_code=invitation(target)
        )
        created = client.com.atproto.server.create_account(data)
        equal(created.handle, handle)
        return created.did

    did = checks.check("createAccount", create)
    if did is None:
        return

    # The client's own login also asks an application view for a profile, which a host alone does not have.
    def login() -> None:
        session = client.com.atproto.server.create_session({"identifier": handle, "password": password})
        equal(session.did, did)
        client.request.add_additional_header("Authorization", f"Bearer {session.access_jwt}")
        equal(client.com.atproto.server.get_session().handle, handle)

    checks.check("createSession and getSession", login)

    def wrong_password() -> None:
        try:
            Client(base_url=target["url"] + "/xrpc").com.atproto.server.create_session(
                {"identifier": handle, "password": "wrong"}
            )
        except AtProtocolError as error:
            equal(error.response.content.error, "AuthenticationRequired")
            return
        raise AssertionError("a wrong password was taken")

    checks.check("a wrong password is refused: AuthenticationRequired", wrong_password)

    def post(text: str, **more: Any) -> Any:
        record = models.AppBskyFeedPost.Record(
            text=text, created_at=client.get_current_time_iso(), **more
        )
        data = models.ComAtprotoRepoCreateRecord.Data(repo=did, collection=POST, record=record)
        return client.com.atproto.repo.create_record(data)

    first = checks.check("createRecord with a typed record", lambda: post("Grüße aus Python 🐍", langs=["de"]))

    def read_back() -> None:
        found = client.com.atproto.repo.get_record(
            {"repo": did, "collection": POST, "rkey": first.uri.rsplit("/", 1)[1]}
        )
        equal(found.cid, first.cid)
        equal(found.value.text, "Grüße aus Python 🐍")
        equal(found.value.langs, ["de"])

    checks.check("getRecord gives the typed record back", read_back)

    # This client names no media type with an upload: the host has to see for itself that it is a picture.
    picture = base64.b64decode(PIXEL) + secrets.token_bytes(2000)

    def blob() -> Any:
        uploaded = client.upload_blob(picture).blob
        equal((uploaded.size, uploaded.mime_type), (len(picture), "image/png"))
        image = models.AppBskyEmbedImages.Image(alt="noise", image=uploaded)
        post("with a picture", embed=models.AppBskyEmbedImages.Main(images=[image]))
        cid = uploaded.ref.link if isinstance(uploaded.ref.link, str) else uploaded.ref.link.decode()
        equal(CID.decode(cid).hash.digest, hashlib.sha256(picture).digest())
        equal(bytes(client.com.atproto.sync.get_blob({"did": did, "cid": cid})), picture)
        return cid

    blob_cid = checks.check("uploadBlob, a record that names it, getBlob", blob)

    def listing() -> None:
        for number in range(23):
            post(f"number {number}")
        texts: list[str] = []
        cursor = None
        while True:
            params = {"repo": did, "collection": POST, "limit": 10, "reverse": True, "cursor": cursor}
            page = client.com.atproto.repo.list_records({key: value for key, value in params.items() if value is not None})
            texts += [record.value.text for record in page.records]
            cursor = page.cursor
            if not cursor or not page.records:
                break
        equal(texts, ["Grüße aus Python 🐍", "with a picture"] + [f"number {number}" for number in range(23)])
        equal(client.com.atproto.sync.list_blobs({"did": did}).cids, [blob_cid])

    checks.check("listRecords page by page, listBlobs", listing)

    def export() -> None:
        archive = CAR.from_bytes(client.com.atproto.sync.get_repo({"did": did}))
        commit = archive.blocks[archive.root]
        equal((commit["did"], commit["version"]), (did, 3))
        head = client.com.atproto.sync.get_latest_commit({"did": did})
        equal((archive.root, commit["rev"]), (CID.decode(head.cid), head.rev))
        texts = [block["text"] for block in archive.blocks.values() if isinstance(block, dict) and "text" in block]
        equal(len(texts), 25)

    checks.check("getRepo decodes: commit, revision, every record", export)

    def events() -> None:
        announced = stream.until(
            lambda event: isinstance(event, models.ComAtprotoSyncSubscribeRepos.Identity) and event.did == did
        )
        last = announced.seq
        texts: list[str] = []
        while len(texts) < 25:
            commit = stream.until(
                lambda event: isinstance(event, models.ComAtprotoSyncSubscribeRepos.Commit) and event.repo == did
            )
            if commit.seq <= last:
                raise AssertionError(f"seq {commit.seq} after {last}")
            last = commit.seq
            blocks = CAR.from_bytes(commit.blocks).blocks
            for operation in commit.ops:
                equal(operation.action, "create")
                texts.append(blocks[operation.cid]["text"])
        equal(texts[:3], ["Grüße aus Python 🐍", "with a picture", "number 0"])
        equal(texts[-1], "number 22")

    checks.check("the event stream decodes: identity, then every commit with its record", events)
    stream.stop()

    def deletion() -> None:
        rkey = first.uri.rsplit("/", 1)[1]
        client.com.atproto.repo.delete_record({"repo": did, "collection": POST, "rkey": rkey})
        try:
            client.com.atproto.repo.get_record({"repo": did, "collection": POST, "rkey": rkey})
        except AtProtocolError as error:
            equal(error.response.content.error, "RecordNotFound")
            return
        raise AssertionError("the record is still there")

    checks.check("deleteRecord, and then getRecord is refused: RecordNotFound", deletion)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    checks = Checks()
    run(read_target(sys.argv[1]), checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
