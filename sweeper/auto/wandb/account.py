"""Find out whether the user has configured a W&B account or a mode."""

from __future__ import annotations

import configparser
import netrc
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

VARIABLES = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE")
HOST = "api.wandb.ai"


def is_configured(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the user chose how W&B runs: by a variable, by `wandb login`, or by `wandb offline` and the like.

    Nothing that belongs to the account is read or kept, except whether it is there.
    """
    if any(environment.get(variable) for variable in VARIABLES):
        return True
    settings = list(_settings(environment))
    if any(section.get("api_key") or section.get("mode") for section in settings):
        return True
    urls = [environment.get("WANDB_BASE_URL"), *(section.get("base_url") for section in settings)]
    hosts = {HOST, *(urlsplit(url).netloc for url in urls if url)}
    return not hosts.isdisjoint(_logged_in(environment))


def _settings(environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield the settings that W&B's command line has written for the user and for the current directory."""
    folder = environment.get("WANDB_CONFIG_DIR")
    user = Path(folder).expanduser() if folder else Path.home() / ".config" / "wandb"
    for path in (user / "settings", Path("wandb") / "settings"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        if parser.has_section("default"):
            yield dict(parser["default"])


def _logged_in(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the hosts that the user's netrc file has credentials for."""
    given = environment.get("NETRC")
    for path in [Path(given).expanduser()] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            return frozenset(netrc.netrc(path).hosts)
        except (netrc.NetrcParseError, UnicodeDecodeError, OSError):
            continue
    return frozenset()
