"""Nobody gets in without the token, from another site, under another name, or in a frame."""

from __future__ import annotations

import pytest

from sweeper.record.storage.layout import SweepDir
from sweeper.service.access import HEADERS, local
from tests.ui.client import HOST, OWN, TOKEN, Client

ENTERED = {"host": HOST, "cookie": f"sweeper={TOKEN}"}
COMMAND = {"command": "stop", "numbers": [0]}
POST = ("/runs/s/commands", "POST")


@pytest.mark.parametrize("path", ["/", "/runs/s", "/runs/s/data/curves?numbers=0", "/static/page.css", "/nothing"])
@pytest.mark.parametrize(
    "more",
    [{}, {"cookie": "sweeper=wrong"}, {"cookie": "other=a-token"}, {"authorization": "Bearer wrong"}, {"cookie": "="}],
)
def test_without_the_token_nothing_is_answered(client: Client, path: str, more: dict[str, str]) -> None:
    answer = client.ask(path, headers={"host": HOST, **more})
    assert answer.status_code == 401
    assert "needs the token" in answer.text
    assert "accuracy" not in answer.text


def test_a_wrong_token_in_the_address_sets_no_cookie(client: Client) -> None:
    answer = client.ask("/?token=wrong", headers={"host": HOST})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_the_address_with_the_token_sets_a_cookie_and_goes_on_without_it(client: Client) -> None:
    answer = client.ask(f"/runs/s?sort=number&token={TOKEN}", headers={"host": HOST})
    assert answer.status_code == 200
    assert answer.headers["set-cookie"] == f"sweeper={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert 'content="0;url=/runs/s?sort=number"' in answer.text
    assert TOKEN not in answer.text
    assert client.ask("/runs/s").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example"])
def test_the_address_with_the_token_goes_to_this_server_only(client: Client, path: str) -> None:
    assert local(path) in ("/evil.example/x", "/evil.example")
    answer = client.ask(f"{path}?token={TOKEN}", headers={"host": HOST})
    assert "url=//" not in answer.text
    assert 'href="//' not in client.ask(path, headers={"host": HOST}).text


def test_a_program_may_bring_the_token_in_a_header(client: Client) -> None:
    headers = {"host": HOST, "authorization": f"Bearer {TOKEN}"}
    assert client.ask("/runs/s", headers=headers).status_code == 200
    sent = client.ask(*POST, headers=headers, json={"command": "stop", "numbers": [99]})
    assert sent.status_code == 404  # it came through to the command, which names the trials


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": f"https://{HOST}"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_a_command_from_another_site_is_refused(client: Client, run: SweepDir, more: dict[str, str]) -> None:
    answer = client.ask(*POST, headers={**ENTERED, **more}, json=COMMAND)
    assert answer.status_code == 403
    assert not run.inbox.exists() or not list(run.inbox.iterdir())


def test_a_command_as_a_form_is_refused(client: Client, run: SweepDir) -> None:
    headers = {**ENTERED, **OWN, "content-type": "text/plain"}
    assert client.ask(*POST, headers=headers, content='{"command": "stop"}').status_code == 400
    assert not run.inbox.exists() or not list(run.inbox.iterdir())


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_link_to_a_page_but_not_read_it(client: Client, site: str) -> None:
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.ask("/runs/s", headers={**ENTERED, **link}).status_code == 200
    frame = {**link, "sec-fetch-dest": "iframe"}
    assert client.ask("/runs/s", headers={**ENTERED, **frame}).status_code == 403
    script = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}
    assert client.ask("/static/base.js", headers={**ENTERED, **script}).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "", "192.168.0.7:8787", "[::1].evil"]
)
def test_a_page_whose_name_was_rebound_to_this_server_is_refused(client: Client, host: str) -> None:
    answer = client.ask("/runs/s", headers={**ENTERED, "host": host})
    assert answer.status_code == 421
    assert "address" in answer.text
    assert "set-cookie" not in client.ask(f"/?token={TOKEN}", headers={"host": host}).headers


@pytest.mark.parametrize(
    "path", ["/", "/runs/s", "/nothing", "/static/page.css", "/runs/s/data/slots", f"/?token={TOKEN}"]
)
@pytest.mark.parametrize("headers", [ENTERED, {"host": HOST}, {"host": "evil.example"}])
def test_every_answer_forbids_frames_and_scripts_of_others(client: Client, path: str, headers: dict[str, str]) -> None:
    answer = client.ask(path, headers=headers)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["x-frame-options"] == "DENY"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
