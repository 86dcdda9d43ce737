"""The pages and their parts, over the record of a real run directory."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.service.answers.series import Importance
from sweeper.service.importance import importance_of
from tests.ui.client import HOST, HOSTILE, TOKEN, Client, client_of, hostile_run, make_run
from tests.views.synthetic import Script, make_trial, play


def test_the_page_of_all_runs_names_each_with_its_best(client: Client) -> None:
    client.ask("/runs/s")  # the page of all runs waits for first readings for a moment only
    text = client.ask("/").text
    assert '<a href="/runs/s">s</a>' in text
    assert "accuracy/test" in text


def test_a_folder_without_runs_says_how_to_begin(tmp_path: Path) -> None:
    with client_of(tmp_path) as client:
        assert "no runs in this folder yet" in client.ask("/").text
        assert client.ask("/live").json()["reading"] == 0


def test_a_run_by_itself_is_the_first_page(run: SweepDir) -> None:
    with client_of(run.path) as client:
        answer = client.ask("/")
        assert (answer.status_code, answer.headers["location"]) == (307, "/runs/s")
        assert 'href="/">Runs' not in client.ask("/runs/s").text


def test_a_run_that_cannot_be_read_is_listed_with_its_reason(client: Client, run: SweepDir) -> None:
    broken = SweepDir(run.path.parent / "broken")
    broken.path.mkdir()
    broken.spec.write_text("{")
    text = client.ask("/").text
    assert "cannot be read" in text
    assert "broken" in text


def test_the_page_of_a_sweep_begins_with_the_verdict(client: Client) -> None:
    text = client.ask("/runs/s").text
    assert "Ended with failures: 1 of 6 trials failed." in text
    assert text.index('id="headline"') < text.index('id="curves"') < text.index('id="table"')
    assert "<b>4</b> complete" in text
    assert "<b>1</b> stopped early" in text


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("sort=number", [0, 1, 2, 3, 4, 5]),
        ("sort=number&descending=yes", [5, 4, 3, 2, 1, 0]),
        ("states=PRUNED", [2]),
        ("states=FAIL&sort=number", [3]),
        ("flagged=yes", [2]),
        ("sort=number&text=lr%3D0.0006", [1, 3, 5]),
        ("sort=number&limit=2&offset=2", [2, 3]),
        ("sort=number&limit=4&offset=400", [4, 5]),
        (f"sort=number&brush={quote(json.dumps({'param:lr': {'low': 5e-4, 'high': 1e-3}}))}", [1, 3, 5]),
        (f"sort=number&numbers=1,2&brush={quote(json.dumps({'param:lr': {'low': 5e-4}}))}", [1]),
        (f"brush={quote(json.dumps({'param:lr': {'low': 1.0}}))}", []),
        (f"sort=number&brush={quote(json.dumps({'value': {'low': 0.5}}))}", [0, 1, 4, 5]),
    ],
)
def test_the_table_is_sorted_filtered_and_paged_by_the_server(client: Client, query: str, numbers: list[int]) -> None:
    for path in ("/runs/s", "/runs/s/live"):
        answer = client.ask(f"{path}?{query}")
        text = answer.json()["table"] if path.endswith("live") else answer.text
        shown = [int(part.split('"', 1)[0]) for part in text.split('data-number="')[1:]]
        assert shown == numbers


@pytest.mark.parametrize(
    "query",
    [
        "sort=nothing",
        "offset=x",
        "states=LOST",
        "flagged=maybe",
        "brush=%5B1%5D",
        "brush=%7B",
        "limit=0",
        "limit=99999",
        "numbers=1,x",
        "offset=-1",
    ],
)
def test_a_wrong_query_is_named(client: Client, query: str) -> None:
    assert client.ask(f"/runs/s?{query}").status_code == 400
    answer = client.ask(f"/runs/s/live?{query}", headers=None)
    assert answer.status_code == 400


def test_an_update_is_empty_until_the_record_changes(client: Client, run: SweepDir) -> None:
    first = client.ask("/runs/s/live").json()
    assert client.ask(f"/runs/s/live?seen={first['revision']}").status_code == 204
    play(make_trial(run, 6), Script(until=640))
    client.runner.run(_later())
    after = client.ask(f"/runs/s/live?seen={first['revision']}").json()
    assert after["revision"] > first["revision"]
    assert 'data-number="6"' in after["table"]


async def _later() -> None:
    import asyncio

    from sweeper.service.open_run import FRESH_S

    await asyncio.sleep(FRESH_S + 0.05)


def test_the_page_of_a_trial_has_its_receipt_and_its_reason(client: Client) -> None:
    text = client.ask("/runs/s/trials/2").text
    assert "Pruned by stalled at step 130" in text
    assert "evidence:" in text
    assert "median" in text
    part = client.ask("/runs/s/trials/2/live").json()
    assert (part["state"], part["step"]) == ("PRUNED", 130)
    assert part["head"] in text.replace("\n\n", "\n") or "Pruned by stalled" in part["head"]


def test_two_trials_side_by_side_name_what_differs(client: Client) -> None:
    text = client.ask("/runs/s/compare/0/1").text
    assert 'class="differs"><th scope="row">lr' in text
    assert "3e-4" in text
    assert "6e-4" in text


@pytest.mark.parametrize(
    "path",
    [
        "/runs/none",
        "/runs/s/trials/99",
        "/runs/s/compare/0/99",
        "/runs/%2e%2e",
        "/runs/s%2f..",
        "/runs/s/data/depth/99",
        "/runs/none/data/slots",
        "/runs/none/events",
        "/static/app.py",
        "/static/..%2fapp.py",
        "/plotly/0/plotly.min.js",
        "/x",
    ],
)
def test_what_is_not_there_is_not_found(client: Client, path: str) -> None:
    answer = client.ask(path)
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_the_charts_get_the_json_of_the_service(client: Client) -> None:
    found = client.ask("/runs/s/data/curves?numbers=0,2&metric=accuracy/test").json()
    assert [curve["number"] for curve in found["curves"]] == [0, 2]
    together = client.ask("/runs/s/data/parallel").json()
    assert [axis["name"] for axis in together["axes"]] == ["lr", "warmup_fraction", "accuracy/test"]
    assert together["numbers"] == list(range(6))
    assert len(client.ask("/runs/s/data/slots").json()["spans"]) == 6
    depth = client.ask("/runs/s/data/depth/2").json()
    assert len(depth["profiles"]) == 14
    assert client.ask("/runs/s/data/output/2").json()["text"] == ""
    assert client.ask("/runs/s/data/importance").json()["version"] == 1
    assert client.ask("/runs/s/data/trial/2").json()["row"]["state"] == "PRUNED"


def test_too_many_curves_are_refused(client: Client) -> None:
    numbers = ",".join(map(str, range(21)))
    assert "at most 20" in client.ask(f"/runs/s/data/curves?numbers={numbers}").json()["error"]


def test_the_library_of_charts_comes_from_its_package(client: Client) -> None:
    page = client.ask("/runs/s").text
    address = page.split('data-plotly="')[1].split('"')[0]
    answer = client.ask(address)
    assert answer.status_code == 200
    assert len(answer.content) > 1_000_000
    assert "immutable" in answer.headers["cache-control"]


def test_own_files_are_sent_again_only_if_they_changed(client: Client) -> None:
    first = client.ask("/static/page.css")
    assert first.headers["content-type"].startswith("text/css")
    headers = {"host": HOST, "cookie": f"sweeper={TOKEN}", "if-none-match": first.headers["etag"]}
    assert client.ask("/static/page.css", headers=headers).status_code == 304


def test_no_page_names_another_server(client: Client) -> None:
    for path in ("/", "/runs/s", "/runs/s/trials/2", "/runs/s/compare/0/1", "/nothing"):
        text = client.ask(path).text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text


def test_what_a_record_says_is_escaped_everywhere(tmp_path: Path) -> None:
    run = hostile_run(tmp_path)
    hostile = SweepDir(tmp_path / "a<b>&\"'{{7*7}}")
    shutil.copytree(run.path, hostile.path)
    write_json(hostile.spec, {"format": 1, "name": HOSTILE, "spec": json.loads(run.spec.read_text())["spec"]})
    with client_of(tmp_path) as client:
        name = quote(hostile.path.name)
        paths = [
            "/",
            "/runs/s",
            f"/runs/{name}",
            f"/runs/{name}/trials/6",
            f"/runs/{name}/trials/7",
            f"/runs/{name}/compare/6/7",
            f"/runs/{name}/compare/0/6",
        ]
        texts = [client.ask(path).text for path in paths]
        lives = [
            client.ask(f"/runs/{name}/live").json(),
            client.ask(f"/runs/{name}/trials/6/live").json(),
            client.ask("/live").json(),
        ]
        texts += [str(part) for live in lives for part in live.values()]
        texts.append(client.ask(f"/runs/{quote(HOSTILE)}").text)
    for text in texts:
        assert "<img" not in text
        assert "<script>" not in text
        assert "\u202e" not in text
    assert any("&lt;img src=x" in text for text in texts)


def test_secrets_do_not_reach_the_page(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    shown = {"api_key": "sk-123456789012345678901234", "lr": 1e-3}
    play(make_trial(run, 6, params=shown, shown=shown), Script(until=640))
    with client_of(tmp_path) as client:
        for path in (
            "/runs/s?sort=number",
            "/runs/s/trials/6",
            "/runs/s/compare/0/6",
            "/runs/s/data/parallel",
            "/runs/s/live",
        ):
            assert "sk-1234" not in client.ask(path).text


def test_pages_that_ask_for_the_importance_at_once_wait_for_one_computation(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SweepDir] = []

    def computed(run: SweepDir) -> Importance:
        asked.append(run)
        time.sleep(0.2)
        return importance_of(run)

    monkeypatch.setattr("sweeper.ui.data.importance_of", computed)
    headers = {"host": HOST, "cookie": f"sweeper={TOKEN}"}

    async def several() -> list[int]:
        address = f"http://{HOST}/runs/s/data/importance"
        answers = await asyncio.gather(*(client.inner.get(address, headers=headers) for _ in range(5)))
        return [answer.status_code for answer in answers]

    assert client.runner.run(several()) == [200] * 5
    assert len(asked) == 1
