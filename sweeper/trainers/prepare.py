"""Find the data that the trials of a sweep will use, and encode it once for all of them, before the sweep starts.

Reads `{"dataset": [names], "tokenizer": [names], "max_length": [numbers]}` from standard input. Writes one JSON object
to standard output: the available `dataset` and `tokenizer`, and their `provenance` for the record. Messages for the
user go to standard error. On failure, the exit code is 2 and the last message has the reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from sweeper.errors import SweeperError, UsageError
from sweeper.trainers import settings
from sweeper.trainers.data import inputs


def prepare(request: Mapping[str, object], say: inputs.Say) -> dict[str, object]:
    """Find the first available sources of a request, encode what is missing in the cache, and return the answer.

    Raises:
        UsageError: the request is invalid, or the cache cannot be written.
        DataUnavailable: none of the requested sources is available.
    """
    lengths = request.get("max_length", [settings.DEFAULTS["max_length"]])
    if set(request) - {"dataset", "tokenizer", "max_length"} or not isinstance(lengths, list) or not lengths:
        raise UsageError(f"expected dataset, tokenizer and max_length, each a list, got {json.dumps(request)}")
    wanted = [settings.parse({**request, "max_length": length}) for length in lengths]
    choice = inputs.choose(wanted[0].dataset, wanted[0].tokenizer, cache=inputs.cache_dir(), say=say)
    encoded = inputs.encode(choice, [one.max_length for one in wanted], cache=inputs.cache_dir())
    provenance = next(iter(encoded.values())).provenance
    for line in _lines(provenance):
        say(line)
    return {"dataset": choice.dataset.name, "tokenizer": choice.tokenizer.name, "provenance": dict(provenance)}


def main() -> int:
    """Answer the request on standard input, and return the exit code."""
    try:
        request = json.load(sys.stdin)
        if not isinstance(request, dict):
            raise UsageError(f"expected a JSON object on standard input, got {json.dumps(request)}")
        answer = prepare(request, _say)
    except (SweeperError, ValueError) as error:
        _say(str(error))
        return 2
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _lines(provenance: Mapping[str, object]) -> list[str]:
    dataset, tokenizer = provenance["dataset"], provenance["tokenizer"]
    if not isinstance(dataset, dict) or not isinstance(tokenizer, dict):
        raise TypeError(provenance)
    sizes = f"{dataset['train']:,} training and {dataset['test']:,} test texts in {len(dataset['classes'])} classes"
    return [
        f"using dataset {dataset['name']}: {sizes}, from {dataset['source']}",
        f"using tokenizer {tokenizer['name']}: {tokenizer['vocab_size']:,} pieces",
    ]


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
