"""Who may use a local server, asked without one."""

from __future__ import annotations

import pytest

from sweeper.service.access import Access, Request, is_loopback, new_token, refusal

TOKEN, HOST = "a-token", "127.0.0.1:8787"
PROGRAMS_ONLY = Access(token=TOKEN, cookie="")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, None),
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"cookie": f"sweeper={TOKEN}"}, 401),
        ({"cookie": f"={TOKEN}"}, 401),
        ({"authorization": f"Bearer {TOKEN}", "origin": f"http://{HOST}"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "origin": "null"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "sec-fetch-site": "cross-site"}, 403),
        ({"authorization": f"Bearer {TOKEN}", "host": "evil.example"}, 421),
    ],
)
def test_a_server_without_pages_answers_programs_with_the_token(headers: dict[str, str], status: int | None) -> None:
    found = refusal(Request("POST", "/mcp", {}, {"host": HOST, **headers}), PROGRAMS_ONLY)
    assert (None if found is None else found.status) == status


@pytest.mark.parametrize("host", ["127.0.0.1:8787", "localhost:8787", "LOCALHOST", "[::1]:8787", "localhost:9000"])
def test_names_of_loopback_are_known_also_behind_a_tunnel(host: str) -> None:
    assert Access(token=TOKEN).knows_host(host)


@pytest.mark.parametrize(("host", "known"), [("10.0.0.7:8787", True), ("cluster:8787", True), ("evil.example", False)])
def test_with_another_address_its_name_and_addresses_are_known(host: str, known: bool) -> None:
    assert Access(token=TOKEN, host="cluster").knows_host(host) == known


def test_tokens_are_long_and_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 43


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("127.8.8.8", True),
        ("0.0.0.0", False),  # noqa: S104 - it is only asked about
        ("gpu-box", False),
    ],
)
def test_loopback_addresses(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
