"""The JSON Schema of a sweep file, made of the models that read it: so that editors complete it and mark mistakes.

A schema says less than ``load``: what several keys must satisfy together, and a trainer's own parameters, it leaves to
``sweeper check``. Every file that ``load`` takes is valid by it (held by a property test).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from sweeper.config.model.executors import EXECUTORS
from sweeper.config.model.parameters import FORM_NAMES, FORMS
from sweeper.config.model.sweep import SweepSpec
from sweeper.config.read.profiles import CHOSEN_KEYS, Profile, When
from sweeper.config.read.wandb import EARLY_TERMINATE, TAKEN, UNUSED
from sweeper.rules.settings import AUTO, RULES

Json: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FORM_MODELS = {"constant": "Constant", "choice": "Choice", "range": "Range"}


def schema() -> Json:
    """The schema, as JSON-ready data."""
    made = SweepSpec.model_json_schema()
    definitions: Json = made["$defs"]
    keys: Json = {key: value for key, value in made["properties"].items() if key not in CHOSEN_KEYS}
    definitions |= {"Value": _VALUE, "Rule": _rule(), "Parameter": _parameter(definitions)}
    for source in ("dataset", "tokenizer"):
        keys[source] = {"anyOf": [{"type": "string", "minLength": 1}, keys[source]]}
    keys["early_stop"] = _early_stop(definitions)
    keys["executor"] = _executor(definitions)
    keys["parameters"] = _mapping_of("Parameter")
    keys["profiles"] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/Profile"}}
    definitions["Profile"] = _profile(keys)
    definitions["Metric"]["properties"] |= {str(path[1]): _wandb(why) for path, why in UNUSED.items() if len(path) > 1}
    keys |= {str(path[0]): _wandb(why) for path, why in UNUSED.items() if len(path) == 1}
    keys["early_terminate"] = _early_terminate()
    required = [key for key in made["required"] if key not in ("name", "metric")]
    made |= {"$schema": DIALECT, "title": "A sweep", "properties": keys, "required": required}
    return _with_named_rules(made)  # type: ignore[no-any-return]  # a mapping stays one


def _mapping_of(definition: str) -> Json:
    return {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{definition}"}}


_VALUE: Json = {
    "description": "A number, text, true, false, null, or a list of these.",
    "anyOf": [
        {"type": ["number", "string", "boolean", "null"]},
        {"type": "array", "items": {"$ref": "#/$defs/Value"}},
    ],
}


def _parameter(definitions: Json) -> Json:
    """One of the forms, or a group of parameters. What ``load`` fills in may be left out."""
    value = {"$ref": "#/$defs/Value"}
    when = {"type": "object", "additionalProperties": {"anyOf": [value, {"type": "array", "items": value}]}}
    for form, model in _FORM_MODELS.items():
        keys = definitions[model]["properties"]
        keys["when"] = {**when, "description": "Only where these parameters have these values."}
        named = [name for name, key in FORM_NAMES.items() if key in FORMS[form]]
        if named:
            keys["distribution"] = {"const": named[0]}
    distribution = definitions["Range"]["properties"]["distribution"]
    definitions["Range"]["properties"]["distribution"] = {"anyOf": [distribution, {"enum": list(TAKEN)}]}
    definitions["Constant"]["properties"]["value"] = value
    definitions["Choice"]["properties"]["values"] |= {"items": value}
    definitions["Range"]["properties"] |= {
        "min": {"type": "number"},
        "max": {"type": "number"},
        "q": {"type": "number"},
    }
    definitions["Range"]["required"] = ["min", "max"]
    group = {
        "type": "object",
        "description": "Several parameters, whose names are this one's, a dot, and their own.",
        "properties": {"parameters": {**_mapping_of("Parameter"), "minProperties": 1}},
        "required": ["parameters"],
        "additionalProperties": False,
    }
    return {"anyOf": [*({"$ref": f"#/$defs/{model}"} for model in _FORM_MODELS.values()), group]}


def _wandb(why: str) -> Json:
    """A key that only W&B's files have."""
    return {"description": f"W&B's: {why}.", "deprecated": True}


def _early_terminate() -> Json:
    return {
        **_wandb("taken as early_stop with successive_halving"),
        "type": "object",
        "properties": {"type": {"const": "hyperband"}, **{key: {} for key in EARLY_TERMINATE[1:]}},
        "required": ["type"],
        "additionalProperties": False,
    }


def _early_stop(definitions: Json) -> Json:
    """The preset, a mapping, or nothing; its rules are the preset, or a list in which the preset may stand too."""
    preset = {"const": AUTO, "description": "Every diagnosis that stops a trial, each with its defaults."}
    rules = definitions["EarlyStop"]["properties"]["rules"]
    entries = {"type": "array", "items": {"anyOf": [preset, {"$ref": "#/$defs/Rule"}]}}
    definitions["EarlyStop"]["properties"]["rules"] = {
        "title": rules["title"],
        "anyOf": [preset, entries],
        "default": AUTO,
    }
    return {"anyOf": [preset, {"$ref": "#/$defs/EarlyStop"}, {"type": "null"}], "default": None}


def _executor(definitions: Json) -> Json:
    """A name, or a mapping whose type says which one is meant."""
    kinds = [kind.__name__ for kind in EXECUTORS.values()]
    for kind in kinds:
        definitions[kind]["required"] = ["type"]
    return {"anyOf": [{"enum": list(EXECUTORS)}, *({"$ref": f"#/$defs/{kind}"} for kind in kinds)]}


def _rule() -> Json:
    """A mapping with one key, the rule's name."""
    kinds = {name: {"$ref": f"#/$defs/{kind.__name__}"} for name, kind in RULES.items()}
    return {
        "type": "object",
        "properties": kinds,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _profile(keys: Json) -> Json:
    """What a profile may replace, each by what the sweep may say there."""
    own: Json = {"when": {"enum": [when.value for when in When]}, "description": {"type": "string"}}
    replaced = {key: keys[key] for key in Profile.model_fields if key in keys and key not in own}
    return {"type": "object", "properties": own | replaced, "additionalProperties": False}


def _with_named_rules(node: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """The schema with `Rule` wherever pydantic, which sees rules after their names were taken off, lists all kinds."""
    if isinstance(node, list):
        return [_with_named_rules(item) for item in node]
    if not isinstance(node, dict):
        return node
    kinds = {f"#/$defs/{kind.__name__}" for kind in RULES.values()}
    listed = node.get("oneOf", [])
    if listed and all(item.get("$ref") in kinds for item in listed):
        rest = {key: value for key, value in node.items() if key not in ("oneOf", "discriminator")}
        return rest | {"$ref": "#/$defs/Rule"}
    # A default of rules is in the words of the models, not in those of a file.
    return {
        key: _with_named_rules(value) for key, value in node.items() if key != "default" or not isinstance(value, list)
    }
