"""Sweep files gone wrong, as Hypothesis strategies: the real ones of `experiments/`, changed as data or as bytes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
FILES = [path.read_bytes() for path in EXPERIMENTS]
DATA = [yaml.safe_load(raw) for raw in FILES]

TEXTS = [
    *("", " ", "null", "~", "no", "1e-4", "1:30", "0x1F", "=1+1", "@sum(1)", "-", "--help", "${args}", "${program}"),
    *("../x", "../../etc/passwd", "/etc/passwd", "a/b", "..", ".", "con", "a\\b", "-rf", "~root"),
    *("x" * 10_000, "é" * 300, "\U0001f600", "\U0001f469\u200d\U0001f4bb", "ﬁ", "e\u0301", "\u2028", "\ufeff"),
    *(
        "\0",
        "a\0b",
        "\x1b[31mred\x1b[0m",
        "\x1b]52;c;aGk=\x07",
        "\x1b]8;;http://e.org\x07x\x1b]8;;\x07",
        "\r",
        "\x9b1m",
    ),
    *("\u202eevil", "[red]x[/red]", "<script>alert(1)</script>", "| a | b |", "`x`", "%s%n", "{0}", "\x85"),
]
NUMBERS = [
    *(
        0,
        -1,
        1,
        2,
        3,
        2**31,
        2**63 - 1,
        2**63,
        -(2**63),
        2**64,
        10**40,
        0.0,
        -0.0,
        0.1,
        1.0,
        1e-4,
        5e-324,
        1e308,
        -1e308,
    ),
    *(float("nan"), float("inf"), float("-inf")),
]
KEYS = (
    "name description trainer command program method metric goal at parameters value values min max q distribution "
    "start_with learn_from "
    "when seeds run_cap budget trials hours gpu_hours dataset tokenizer early_stop mode audit most_false_prunes rules "
    "stalled vanishing_gradient update_ratio exploding_gradient zero_gradient non_finite plateau below window "
    "grace_steps resources gpus cpus checkpoint every_minutes figures every_steps max_layers profiles gpu cpu "
    "profile lr seed"
).split()
WORDS = "grid random tpe bayes gp cmaes qmc maximize minimize best last act observe cuda uniform int_uniform".split()

scalars = (
    st.sampled_from([None, True, False, *NUMBERS, *TEXTS, *KEYS, *WORDS])
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=6)
)
keys = st.sampled_from([*KEYS, *TEXTS]) | st.sampled_from([None, True, 3, 0.5])
ranges = st.fixed_dictionaries(
    {"min": st.sampled_from(NUMBERS), "max": st.sampled_from(NUMBERS)},
    optional={"q": st.sampled_from(NUMBERS), "distribution": st.sampled_from(["int_uniform", "q_uniform", *WORDS])},
)


def _few_are_large(large: int, huge: int) -> st.SearchStrategy[int]:
    """Lengths: what takes long to write and to read is drawn seldom, so that there is time for many files."""
    return st.sampled_from([*[2, 3, 5, 8] * 12, *[large] * 4, huge])


values = (
    scalars
    | ranges
    | st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
    )
    | st.builds(lambda n, value: [value] * n, _few_are_large(300, 6_000), scalars)
    | st.builds(lambda n: list(range(n)), _few_are_large(120, 4_000))
    | st.builds(lambda n: json.loads("[" * n + "]" * n), st.sampled_from([5, 31, 33, 300]))
)


def _places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in the data, the data itself left out."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, item in items for place in ((*at, key), *_places(item, (*at, key)))]


@st.composite
def changed_data(draw: st.DrawFn) -> bytes:
    """A real sweep with one to three values, keys or parts replaced, moved, doubled or taken away."""
    data = copy.deepcopy(draw(st.sampled_from(DATA)))
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        places = _places(data)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = data
        for part in way:
            holder = holder[part]
        match draw(st.sampled_from(["replace", "replace", "remove", "rename", "add", "graft"])):
            case "replace":
                holder[last] = draw(values)
            case "remove":
                del holder[last]
            case "rename" if isinstance(holder, dict):
                holder[draw(keys)] = holder.pop(last)
            case "add" if isinstance(holder, dict):
                holder[draw(keys)] = draw(values)
            case "graft":
                holder[last] = copy.deepcopy(draw(st.sampled_from([data, *DATA])))
    return _written(draw, data)


def _written(draw: st.DrawFn, data: Any) -> bytes:
    flow = draw(st.sampled_from([None, True, False]))
    text: str = yaml.safe_dump(data, allow_unicode=draw(st.booleans()), sort_keys=False, default_flow_style=flow)
    return text.encode()


FRAGMENTS = [
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b": ",
        b"- ",
        b"&a ",
        b"*a",
        b"<<: *a\n",
        b"? ",
        b"|\n",
        b">-\n",
        b"!!python/object:os ",
        b"#",
    ),
    *(
        b"!!binary ",
        b"!!set ",
        b"%YAML 1.9\n",
        b"---\n",
        b"...\n",
        b"\t",
        b"\n\n",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\x1b[31m",
    ),
    *(b"'", b'"', b"\\", b'"\\x00"', b'"\\U00110000"', b'"\\ud800"', b"\r", b"\xc2\x85", b"@", b"`", b"name: b\n"),
    *(
        b"[" * 1_000,
        b"{a: " * 200,
        b"a" * 10_000,
        b"1" * 5_000,
        b"- " * 3_000,
        b"seeds: [1, 1]\n",
        b".nan",
        b"1e999",
        b"0o7",
    ),
    *(b"x0: &x0 [a, a]\n" + b"".join(b"x%d: &x%d [*x%d, *x%d, *x%d]\n" % (n + 1, n + 1, n, n, n) for n in range(30)),),
]


@st.composite
def changed_bytes(draw: st.DrawFn) -> bytes:
    """A real sweep file with one to four places cut out, doubled, overwritten or filled."""
    raw = draw(st.sampled_from(FILES))
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        start = draw(st.integers(0, len(raw)))
        stop = min(len(raw), start + draw(st.integers(0, 80)))
        put = draw(st.sampled_from([b"", raw[start:stop] * 2, *FRAGMENTS]) | st.binary(max_size=8))
        raw = raw[:start] + put + raw[stop:]
    return raw


hostile_files = st.one_of(changed_data(), changed_bytes())
