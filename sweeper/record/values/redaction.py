"""Redact secrets in all that people read or pass on: tables, reports, exports, notifications. Pure functions.

What has to be executed is not redacted: the command in `trial.json`, the sweep file and its resolved form. Secrets are
recognised by their form or by the name before them, so redaction is a second line of defence: a secret belongs in the
environment, of which only an allowlist is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

REDACTED = "[redacted]"

_WORD_BEGINS = r"(?:[\w.-]{0,64}(?:[-_.]|(?-i:(?<=[a-z0-9])(?=[A-Z]))))?"
"""What may come before the word that tells: `AWS_` in AWS_SECRET_KEY, `access` in accessToken."""
_KEY_OF = (
    r"(?:access|account|auth|encryption|private|secret|signing|shared[-_]?access|client|deploy|license|master|openai"
    r"|anthropic|huggingface|hf|wandb|aws|azure|gcp|google|github|gitlab|ssh|storage|subscription|stripe)"
)
_NAME = (
    rf"{_WORD_BEGINS}(?:api[-_]?key|{_KEY_OF}[-_]?key(?:[-_]?id)?|secrets?|password|passwd|passphrase|pwd|credentials?"
    r"|authorization|api[-_]?token|(?P<weak>token)|webhooks?(?:[-_]?url)?|(?:set[-_])?cookie|session[-_]?id|(?:shared[-_]?access"
    r"[-_]?)signature|sas[-_]?(?:token|url)|connection[-_]?string)"
)
_OF_ACCOUNT = (
    r"(?:[\w.-]{0,64}[-_.])?(?:db|database|user|root|admin|smtp|imap|ftp|ssh|mysql|pg|postgres|redis|mongo|mail|proxy"
    r"|ldap|login|account|service)[-_]?pass"
)
"""`pass` alone is also a pass over the data: `first_pass`, `forward_pass`."""
_OF_A_TOKENIZER = (
    r"(?!\w{0,64}(?:pad|bos|eos|unk|cls|sep|mask|image|audio|video|vision|start|end|stop|special|prompt|eot|eoi|boi)"
    r"_token\b)"
)
_ANY_NAME = rf"{_OF_A_TOKENIZER}(?:{_NAME}|{_OF_ACCOUNT})"
_SECRET_NAME = re.compile(_ANY_NAME, re.IGNORECASE)
_TOKEN = re.compile(r"token$", re.IGNORECASE)
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|\\"[^"\\\n]*\\"|\[[^\]\n]*\]|(?:bearer|basic)\s+[^\s"'&,;}\]]+|[^\s"'&,;}\]]+)"""
_NUMBER = r"(?:-?\d{1,6}(?:\.\d*)?|true|false|none|null)(?![^\s\"'&,;)}\]])"
"""What is no secret behind a name that ends in `token`, such as `stop_token` or `use_auth_token`."""
_OWN_WORDS = r"(?:expected|removed|added|changed)\b"
"""How sweeper's own messages about a key go on."""
_HINTS = (
    "key token secret pass pwd cred auth hook cookie sess sig conn bearer basic :// sk- sk_ rk_ aiza akia asia gh "  # noqa: SIM905 - words read better
    "github_pat glpat hf_ xox xapp eyj private npm_ pypi- sg. dapi ya29 nvapi gsk_ r8_ bot".split()
)
"""Without any of these, in small letters, a text has no secret that is recognised: most texts are not searched."""
# Repetitions are bounded, and begin where a word does: on no text is this slower than linear.
_FORMS = (
    # scheme://user:password@host, scheme://token@host
    re.compile(r"(?P<kept>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://)(?!git@)[^\s/\"']+(?=@)", re.IGNORECASE),
    # name=value, "name": "value", name: {value: x}; also on the line below
    re.compile(
        rf"(?P<kept>(?<![\w.-])(?<!unexpected )(?:--)?{_ANY_NAME}\\?[\"']?\s*(?:=>|[=:])\s*"
        rf"(?:\{{?\s*[\"']?values?[\"']?\s*:\s*)?)(?!{_OWN_WORDS})(?(weak)(?!{_NUMBER})){_VALUE}",
        re.IGNORECASE,
    ),
    # --name value, as words of a command line, of a list, or of lines of a list
    re.compile(
        rf"(?P<kept>(?<![\w.-])--{_ANY_NAME}(?:[ \t]+|[\"']?\s*,\s*|[\"']?\s*\n[+-]?\s*-\s+))"
        rf"(?(weak)(?!{_NUMBER})){_VALUE}",
        re.IGNORECASE,
    ),
    # parts of a URL: signatures of Azure, AWS and Google; addresses that are secrets themselves
    re.compile(
        r"(?P<kept>[?&;](?:sig|signature|x-amz-signature|x-goog-signature|key|code)=)[^\s&\"'<>]{8,}", re.IGNORECASE
    ),
    re.compile(r"(?P<kept>\b(?:hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/))[^\s\"'<>]+", re.IGNORECASE),
    re.compile(r"(?P<kept>(?<![\w-])sig=)[\w%/+.~-]{20,}=*", re.IGNORECASE),
    re.compile(r"(?P<kept>\b(?:bearer|basic)\s+)(?=\S{0,200}\d)[\w.~+/-]{16,}=*", re.IGNORECASE),
    # recognised by their form: keys of AWS, Google, GitHub, GitLab, Hugging Face, OpenAI, Stripe, Slack and others;
    # JSON web tokens; PEM keys
    re.compile(
        r"(?P<kept>)(?:\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}|\bgh[opsur]_\w{20,}"
        r"|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bhf_\w{20,}|\bsk-(?!learn)[\w-]{16,}|\b[sr]k_(?:live|test)_\w{10,}"
        r"|\bxox[abeprs]-[\w-]{10,}|\bxapp-[\w-]{20,}|\bnpm_\w{30,}|\bpypi-[\w-]{40,}|\bSG\.[\w-]{16,}\.[\w-]{16,}"
        r"|\bdapi[a-f0-9]{32}|\bnvapi-[\w-]{20,}|\bgsk_\w{20,}|\br8_\w{30,}|\bbot\d{6,}:[\w-]{30,}"
        r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
        r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))",
        re.DOTALL,
    ),
)


def redacted(text: str) -> str:
    """Return the text with passwords and tokens replaced that their form or the name before them gives away."""
    small = text.lower()
    if not any(hint in small for hint in _HINTS):
        return text
    for form in _FORMS:
        text = form.sub(rf"\g<kept>{REDACTED}", text)
    return text


def redacted_value(name: str, value: object) -> object:
    """Return a named JSON value without its secrets; only a placeholder where the name itself is that of a secret."""
    if _is_secret(name, value):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: redacted_value(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _NUMBERS else redacted_value("", item) for item in value]
    return redacted(value) if isinstance(value, str) else value


_NUMBERS = frozenset([float, int, bool, type(None)])
"""Types of values without a name that are no secret."""


def redacted_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return a mapping with each value redacted by its name."""
    return {name: redacted_value(name, value) for name, value in values.items()}


def _is_secret(name: str, value: object) -> bool:
    """Return whether a value is secret because of its name. A number may be a token of text; a truth value is none."""
    if value is None or isinstance(value, bool):
        return False
    number = isinstance(value, int | float) and _TOKEN.search(name) is not None
    return not number and _SECRET_NAME.fullmatch(name) is not None
