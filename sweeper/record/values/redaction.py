"""Redact secrets in text that people read or pass on: provenance, TensorBoard. Pure functions.

What has to be executed is not redacted: the command in `trial.json`, the sweep file and its resolved form. Secrets are
recognised by their form, so redaction is a second line of defence: a secret belongs in the environment, of which only
an allowlist is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

REDACTED = "[redacted]"

_NAME = (
    r"(?:[\w.-]{0,64}[-_.])?(?:api[-_]?key|(?:access|account|auth|encryption|private|secret|signing)[-_]?key(?:[-_]id)?"
    r"|secrets?|password|passwd|passphrase|pwd|credentials?|authorization|api[-_]?token|token|webhooks?(?:[-_]url)?)"
)
_OF_A_TOKENIZER = r"(?!\w{0,64}(?:pad|bos|eos|unk|cls|sep|mask)_token\b)"
_SECRET_NAME = re.compile(rf"{_OF_A_TOKENIZER}{_NAME}", re.IGNORECASE)
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|\[[^\]\n]*\]|(?:bearer|basic)\s+[^\s"'&,;}\]]+|[^\s"'&,;}\]]+)"""
# Repetitions are bounded, and begin where a word does: on no text is this slower than linear.
_FORMS = (
    # scheme://user:password@host, scheme://token@host
    re.compile(r"(?P<kept>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://)(?!git@)[^\s/@\"']+(?=@)", re.IGNORECASE),
    # name=value, "name": "value", name: {value: x}; also on the line below
    re.compile(
        rf"(?P<kept>(?<![\w.-])(?:--)?{_OF_A_TOKENIZER}{_NAME}[\"']?\s*[=:]\s*(?:\{{?\s*[\"']?values?[\"']?\s*:\s*)?){_VALUE}",
        re.IGNORECASE,
    ),
    # --name value, as words of a command line, of a list, or of lines of a list
    re.compile(
        rf"(?P<kept>(?<![\w.-])--{_OF_A_TOKENIZER}{_NAME}(?:[ \t]+|[\"']?\s*,\s*|[\"']?\s*\n[+-]?\s*-\s+)){_VALUE}",
        re.IGNORECASE,
    ),
    # recognised by their form: keys of AWS, GitHub, GitLab, Hugging Face, OpenAI, Slack; JSON web tokens; PEM keys
    re.compile(
        r"(?P<kept>)(?:\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[opsur]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
        r"|\bhf_\w{20,}|\bsk-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
        r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))",
        re.DOTALL,
    ),
)


def redacted(text: str) -> str:
    """Return the text with passwords and tokens replaced that their form or the name before them gives away."""
    for form in _FORMS:
        text = form.sub(rf"\g<kept>{REDACTED}", text)
    return text


def redacted_value(name: str, value: object) -> object:
    """Return a named JSON value without its secrets; only a placeholder where the name itself is that of a secret."""
    if _SECRET_NAME.fullmatch(name) and value is not None:
        return REDACTED
    if isinstance(value, Mapping):
        return {key: redacted_value(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_value("", item) for item in value]
    return redacted(value) if isinstance(value, str) else value


def redacted_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return a mapping with each value redacted by its name."""
    return {name: redacted_value(name, value) for name, value in values.items()}
