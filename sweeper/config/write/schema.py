"""The JSON Schema of a sweep file, generated from the models, for completion and checks in editors.

The schema is less strict than `load`: rules about several keys and a trainer's own parameters are left to
`sweeper check`. Every file that `load` accepts is valid by the schema (a property test checks this).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from sweeper.config.model.executors import EXECUTORS
from sweeper.config.model.parameters import FORM_NAMES, FORMS
from sweeper.config.model.sources import SOURCES
from sweeper.config.model.sweep import SweepSpec
from sweeper.config.read.profiles import CHOSEN_KEYS, Profile, When
from sweeper.config.read.wandb import EARLY_TERMINATE, TRANSLATED, UNUSED
from sweeper.rules.settings import AUTO, RULES

Json: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FORM_MODELS = {"constant": "Constant", "choice": "Choice", "range": "Range", "normal": "Normal", "beta": "Beta"}


def schema() -> Json:
    """Return the schema as JSON-ready data."""
    made = SweepSpec.model_json_schema()
    definitions: Json = made["$defs"]
    keys: Json = {key: value for key, value in made["properties"].items() if key not in CHOSEN_KEYS}
    definitions |= {"Value": _VALUE, "Rule": _rule(), "Parameter": _parameter(definitions)}
    for source in ("dataset", "tokenizer", "learn_from"):
        keys[source] = {"anyOf": [{"type": "string", "minLength": 1}, keys[source]]}
    entry = {"type": "object", "additionalProperties": {"$ref": "#/$defs/Value"}, "minProperties": 1}
    keys["start_with"] |= {"items": entry}
    keys["early_stop"] = _early_stop(definitions)
    keys["executor"] = _executor(definitions)
    for words in (keys["command"]["anyOf"][0], definitions["ResumeArgs"]["properties"]["args"]):
        words["items"] = {"type": ["string", "number", "boolean"]}
    keys["resume_args"]["anyOf"].insert(0, definitions["ResumeArgs"]["properties"]["args"])
    keys["parameters"] = _mapping_of("Parameter")
    definitions["MetricSource"] = _source(definitions)
    keys["metrics"] = _mapping_of("MetricSource")
    keys["profiles"] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/Profile"}}
    definitions["Profile"] = _profile(keys)
    definitions["Metric"]["properties"] |= {str(path[1]): _wandb(why) for path, why in UNUSED.items() if len(path) > 1}
    metric: Json = definitions["Metric"]["properties"]
    for name in ("ObjectiveSettings", "ConstraintSettings"):
        definitions[name]["required"] = ["name"]
    metric["impute"] = {"anyOf": [metric["impute"], {"const": False}], "default": metric["impute"].pop("default")}
    keys |= {str(path[0]): _wandb(why) for path, why in UNUSED.items() if len(path) == 1}
    keys["early_terminate"] = _early_terminate()
    required = [key for key in made["required"] if key not in ("name", "metric")]
    made |= {"$schema": DIALECT, "title": "A sweep", "properties": keys, "required": required}
    made["patternProperties"] = {"^(x-|\\.)": {"description": "No setting: a place for what aliases refer to."}}
    return _with_named_rules(made)  # type: ignore[no-any-return]  # a mapping stays one


def _mapping_of(definition: str) -> Json:
    return {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{definition}"}}


_VALUE: Json = {
    "description": "A number, text, true, false, null, or a list or mapping of these, for example 0.1 or [64, 64].",
    "anyOf": [
        {"type": ["number", "string", "boolean", "null"]},
        {"type": "array", "items": {"$ref": "#/$defs/Value"}},
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/Value"}},
    ],
}


def _parameter(definitions: Json) -> Json:
    """Return the schema of a parameter: one of the forms, or a group. Keys that `load` fills in are optional."""
    value = {"$ref": "#/$defs/Value"}
    when = {"type": "object", "additionalProperties": {"anyOf": [value, {"type": "array", "items": value}]}}
    for form, model in _FORM_MODELS.items():
        keys = definitions[model]["properties"]
        text = "Only try this parameter if others have these values, for example {optimizer: adam}."
        keys["when"] = {**when, "description": text}
        named = [name for name, key in FORM_NAMES.items() if key in FORMS[form]]
        if named:
            keys["distribution"] = {"enum": named}
    distribution = definitions["Range"]["properties"]["distribution"]
    definitions["Range"]["properties"]["distribution"] = {"anyOf": [distribution, {"enum": list(TRANSLATED)}]}
    definitions["Constant"]["properties"]["value"] = value
    definitions["Choice"]["properties"]["values"] |= {"items": value}
    definitions["Range"]["properties"] |= {
        "min": {"type": "number"},
        "max": {"type": "number"},
        "q": {"type": "number"},
    }
    definitions["Range"]["required"] = ["min", "max"]
    for model, names in (("Normal", ("mu", "sigma", "q")), ("Beta", ("a", "b", "q"))):
        definitions[model]["properties"] |= {name: {"type": "number"} for name in names}
    group = {
        "type": "object",
        "description": "A group of parameters. {parameters: {lr: ...}} under optimizer declares optimizer.lr.",
        "properties": {"parameters": {**_mapping_of("Parameter"), "minProperties": 1}},
        "required": ["parameters"],
        "additionalProperties": False,
    }
    return {"anyOf": [*({"$ref": f"#/$defs/{model}"} for model in _FORM_MODELS.values()), group]}


def _wandb(why: str) -> Json:
    """Return the schema of a key that only W&B's files have."""
    return {"description": f"From W&B's sweep files; {why}.", "deprecated": True}


def _early_terminate() -> Json:
    return {
        **_wandb("translated to early_stop with successive_halving"),
        "type": "object",
        "properties": {"type": {"const": "hyperband"}, **{key: {} for key in EARLY_TERMINATE[1:]}},
        "required": ["type"],
        "additionalProperties": False,
    }


def _early_stop(definitions: Json) -> Json:
    """Return the schema of `early_stop`: the preset, a mapping, or null. Its rules may contain the preset too."""
    preset = {"const": AUTO, "description": "Every diagnosis that stops a trial, each with its default settings."}
    rules = definitions["EarlyStop"]["properties"]["rules"]
    entries = {"type": "array", "items": {"anyOf": [preset, {"$ref": "#/$defs/Rule"}]}}
    definitions["EarlyStop"]["properties"]["rules"] = {
        "title": rules["title"],
        "anyOf": [preset, entries],
        "default": AUTO,
    }
    definitions["EarlyStop"]["properties"]["repair"] = {
        "title": "Repair",
        "anyOf": [{"enum": ["auto", "off", False]}, {"$ref": "#/$defs/RepairNames"}, {"type": "null"}],
        "default": None,
    }
    return {"anyOf": [preset, {"$ref": "#/$defs/EarlyStop"}, {"type": "null"}], "default": None}


def _executor(definitions: Json) -> Json:
    """Return the schema of `executor`: a name, or a mapping with a type."""
    kinds = [kind.__name__ for kind in EXECUTORS.values()]
    for kind in kinds:
        definitions[kind]["required"] = ["type"]
    return {"anyOf": [{"enum": list(EXECUTORS)}, *({"$ref": f"#/$defs/{kind}"} for kind in kinds)]}


def _rule() -> Json:
    """Return the schema of a rule: a mapping with one key, the name of the rule."""
    kinds = {name: {"$ref": f"#/$defs/{kind.__name__}"} for name, kind in RULES.items()}
    return {
        "type": "object",
        "properties": kinds,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _source(definitions: Json) -> Json:
    """Return the schema of a source of a metric: a mapping with one key, its kind; text is short for one setting."""
    kinds: Json = {}
    for name, kind in SOURCES.items():
        settings = definitions[kind.__name__]["properties"]
        if "file" in settings:
            pattern = {"type": "string", "minLength": 1}
            settings["file"] = {"anyOf": [pattern, {"type": "array", "items": pattern, "minItems": 1}]}
        kinds[name] = {"anyOf": [settings[kind.short], {"$ref": f"#/$defs/{kind.__name__}"}]}
    return {
        "type": "object",
        "description": "Where a metric is read that the script does not report, for example {tensorboard: val/acc}.",
        "properties": kinds,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _profile(keys: Json) -> Json:
    """Return the schema of a profile: the keys that it may replace, with the schemas that they have in the sweep."""
    own: Json = {"when": {"enum": [when.value for when in When]}, "description": {"type": "string"}}
    replaced = {key: keys[key] for key in Profile.model_fields if key in keys and key not in own}
    return {"type": "object", "properties": own | replaced, "additionalProperties": False}


def _with_named_rules(node: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Return the schema with `Rule` in place of pydantic's lists of all rules, which lack the rules' names."""
    if isinstance(node, list):
        return [_with_named_rules(item) for item in node]
    if not isinstance(node, dict):
        return node
    kinds = {f"#/$defs/{kind.__name__}" for kind in RULES.values()}
    listed = node.get("oneOf", [])
    if listed and all(item.get("$ref") in kinds for item in listed):
        rest = {key: value for key, value in node.items() if key not in ("oneOf", "discriminator")}
        return rest | {"$ref": "#/$defs/Rule"}
    # The default of rules is written as models here, which differs from a sweep file.
    return {
        key: _with_named_rules(value) for key, value in node.items() if key != "default" or not isinstance(value, list)
    }
