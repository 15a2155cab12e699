"""The configuration: checked against its schema, completed with its defaults.

The schema (`workflow/schemas/config.schema.yaml`) is the one place that names a
key, its type, its range, its default and its meaning. This module turns what
the schema refuses into sentences a user can act on, and adds the checks that
span several keys.
"""

import copy
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import combinations
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from lib.shared.chemistry import base_channels, one_channel_each
from lib.shared.errors import InputError
from lib.shared.layout import LABEL_STAGES

# In Python, and so in jsonschema, 1.0 is an integer and NaN passes any range.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
    }
)
_Validator = extend(Draft202012Validator, type_checker=_TYPES)

_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a section of keys",
    "null": "null",
}
# What belongs to a login, and the variable that holds it.
_ACCOUNT = {
    "host": "OMERO_HOST",
    "server": "OMERO_HOST",
    "port": "OMERO_PORT",
    "group": "OMERO_GROUP",
    "user": "OMERO_USER",
    "username": "OMERO_USER",
    "password": "OMERO_PASSWORD",
    "session": "OMERO_SESSION",
}
_BOUNDS = {
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "of at most",
    "exclusiveMaximum": "below",
}


def load_schema(schema_path: str | os.PathLike) -> dict:
    """Read a schema written in YAML."""
    return yaml.load(Path(schema_path).read_text(encoding="utf-8"), yaml.CSafeLoader)


def load_config(raw: dict, schema_path: str | os.PathLike) -> dict:
    """Check `raw` and return a copy of it in which every key has its value.

    Absent keys get their defaults at every depth, except that an absent `sbs` or
    `phenotype` section stays absent. Where a default is derived from another
    key (`dapi_channel`, `cytoplasm_channels`, `omezarr_export` and the pixel
    sizes of the two modules) null is replaced by the derived value. The result
    passes through again unchanged.

    Raises `InputError` with one sentence per line for everything that is wrong:
    unknown keys, wrong values, and keys that contradict each other.
    """
    schema = load_schema(schema_path)
    errors = list(_Validator(schema).iter_errors(raw))
    problems = [sentence for error in errors for sentence in _sentences(error, schema)]
    wrong = {section for error in errors for section in _sections(error, schema)}
    config = {}
    if isinstance(raw, dict):
        config = _with_defaults(raw, schema, schema)
        for sections, check in _CHECKS:
            if all(name in config and name not in wrong for name in sections.split()):
                problems += check(config)
    if problems:
        raise InputError("\n".join(problems))
    return _resolve(config)


# ---------------------------------------------------------------- the schema's refusals


def key_names(schema: dict) -> list[str]:
    """List the dotted names of all keys of a schema, sections included."""
    return list(_walk(schema, schema, ""))


def _walk(node: dict, schema: dict, prefix: str) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        yield prefix + name
        yield from _walk(_dereference(child, schema), schema, f"{prefix}{name}.")


def _dereference(node: dict, schema: dict) -> dict:
    """Merge a local `$ref` into the node that holds it; the node's own words win."""
    if "$ref" not in node:
        return node
    return schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] | node


def _sections(error: ValidationError, schema: dict) -> set[str]:
    """Name the sections in which an error makes further checks meaningless."""
    if error.path:
        return {str(error.path[0])}
    if error.validator == "additionalProperties":
        return set()
    return set(schema["properties"])


def _sentences(error: ValidationError, schema: dict) -> list[str]:
    key = _key_name(error.path)
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = [str(name) for name in error.instance if name not in known]
        return [_unknown_key(name, key, list(known), schema) for name in unknown]
    if error.validator == "required":
        missing = next(name for name in error.validator_value if f"'{name}'" in error.message)
        meaning = error.schema["properties"][missing]["description"]
        return [f"config key {_join(key, missing)} is missing: {_lower(meaning)}"]
    if not key:
        return [
            "the config is empty: it needs at least all.root_fp and an sbs or phenotype section."
        ]
    if error.validator == "uniqueItems":
        twice = {_show(item) for item in error.instance if error.instance.count(item) > 1}
        return [f"config key {key} names {', '.join(sorted(twice))} twice: name it once."]
    return [f"config key {key} is {_show(error.instance)}: it must be {_allowed(error, schema)}."]


def _unknown_key(name: str, section: str, siblings: list[str], schema: dict) -> str:
    full = _join(section, name)
    if section == "omero" and name.lower() in _ACCOUNT:
        return (
            f"config key {full} is never read from a config, where others can see it: set "
            f"{_ACCOUNT[name.lower()]} in the environment, or write it into the private file "
            "~/.config/poolscope/omero (see docs/omero.md)."
        )
    nearest = _nearest_key(name, section, siblings, key_names(schema))
    if nearest:
        return f"config key {full} is not known: did you mean {nearest}?"
    place = f"the keys of {section}" if section else "the sections"
    return f"config key {full} is not known: {place} are {', '.join(siblings)}."


def _nearest_key(name: str, section: str, siblings: list[str], known: list[str]) -> str | None:
    close = get_close_matches(name, siblings, n=1)
    if close:
        return _join(section, close[0])
    elsewhere = [key for key in known if key.rsplit(".", 1)[-1] == name]
    # The right name in the wrong place: a place inside the same section comes first.
    elsewhere.sort(key=lambda key: not key.startswith(f"{section}."))
    elsewhere = elsewhere or get_close_matches(_join(section, name), known, n=1, cutoff=0.8)
    return elsewhere[0] if elsewhere else None


def _allowed(error: ValidationError, schema: dict) -> str:
    node, value = _dereference(error.schema, schema), error.instance
    text = _expected(node)
    if "enum" in node and isinstance(value, str):
        close = get_close_matches(value, [str(choice) for choice in node["enum"]], n=1)
        text += f" (did you mean {close[0]}?)" if close else ""
    elif "enum" in node and str(value) in node["enum"]:
        text += f', as text, so write it in quotes, "{value}"'
    elif node.get("type") == "string" and isinstance(value, int | float):
        text += f', so write it in quotes, "{value}"'
    return text


def _expected(node: dict) -> str:
    """Say in words which values a schema node allows."""
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return f"one of {', '.join(map(str, node['enum']))}"
    if "anyOf" in node:
        return " or ".join(_expected(choice) for choice in node["anyOf"])
    types = node["type"] if isinstance(node["type"], list) else [node["type"]]
    return " or ".join(_expected_of_type(node, name) for name in types)


def _expected_of_type(node: dict, name: str) -> str:
    text = _TYPE_NAMES[name]
    if name in ("integer", "number"):
        bounds = [f"{words} {node[bound]}" for bound, words in _BOUNDS.items() if bound in node]
        return " ".join([text, " and ".join(bounds)]).strip()
    if name == "string" and "pattern" in node:
        return f"{text} that matches {node['pattern']}"
    if name == "string" and node.get("minLength"):
        return f"{text} that is not empty"
    if name == "array":
        least, most = node.get("minItems", 0), node.get("maxItems")
        if most:
            text += f" of {most}" if least == most else f" of {least} to {most}"
        elif least:
            text += f" of at least {least}"
        if "$ref" not in node["items"]:
            text += f", each {_expected(node['items'])}"
    return text


def _key_name(path: Sequence[str | int]) -> str:
    name = ""
    for part in path:
        name = f"{name}[{part}]" if isinstance(part, int) else _join(name, str(part))
    return name


def _join(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def _show(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


# ---------------------------------------------------------------- defaults


def schema_defaults(schema_path: str | os.PathLike) -> dict:
    """The defaults of all sections, as nested as the config; required keys have none."""
    schema = load_schema(schema_path)
    sections = {name: {} for name in schema["properties"]}
    return _with_defaults(sections, schema, schema)


def _with_defaults(value: object, node: dict, schema: dict) -> object:
    """Copy `value` and give absent keys the defaults of `node`, at every depth."""
    if not isinstance(value, dict) or "properties" not in node:
        return copy.deepcopy(value)
    filled = {}
    for name, child in node["properties"].items():
        child = _dereference(child, schema)
        if name in value:
            filled[name] = _with_defaults(value[name], child, schema)
        elif "default" in child:
            filled[name] = _with_defaults(child["default"], child, schema)
    return filled


def _resolve(config: dict) -> dict:
    """Replace null by what it stands for, where that follows from other keys."""
    preprocess = config["preprocess"]
    for module in ("sbs", "phenotype"):
        if preprocess[f"{module}_pixel_size_um"] is None:
            preprocess[f"{module}_pixel_size_um"] = preprocess["pixel_size_um"]
    for module in ("preprocess", "sbs", "phenotype"):
        if module in config and config[module]["omezarr_export"] is None:
            config[module]["omezarr_export"] = config["all"]["omezarr_export_default"]
    # YAML reads a plate that is a number as one.
    plates = config["omero"]["source_plates"]
    config["omero"]["source_plates"] = {str(plate): number for plate, number in plates.items()}
    if "sbs" in config:
        sbs = config["sbs"]
        shown = base_channels(sbs["bases"], sbs["base_encoding"])
        others = [name for name in sbs["channel_names"] if name not in shown]
        if sbs["dapi_channel"] is None and others:
            sbs["dapi_channel"] = others[0]
        if sbs["cytoplasm_channels"] is None:
            sbs["cytoplasm_channels"] = shown
    if "phenotype" in config:
        phenotype = config["phenotype"]
        names = phenotype["channel_names"]
        if phenotype["dapi_channel"] is None:
            phenotype["dapi_channel"] = names[0]
        if phenotype["cytoplasm_channels"] is None:
            rest = [name for name in names if name != phenotype["dapi_channel"]]
            phenotype["cytoplasm_channels"] = rest or list(names)
        if phenotype["alignment"]["reference_channel"] is None:
            phenotype["alignment"]["reference_channel"] = phenotype["dapi_channel"]
    return config


# ---------------------------------------------------------------- checks across keys


def _check_halves(config: dict) -> Iterator[str]:
    if "sbs" not in config and "phenotype" not in config:
        yield "the config has neither an sbs nor a phenotype section: add at least one of them."
    for module in ("sbs", "phenotype"):
        sheet = config["preprocess"][f"{module}_samples_fp"]
        if module in config and sheet is None:
            yield (
                f"config key preprocess.{module}_samples_fp is missing: the {module} section "
                "needs its sample sheet, or leave that section out."
            )
        if module not in config and sheet is not None:
            yield (
                f"config key preprocess.{module}_samples_fp names {sheet}, but there is no "
                f"{module} section: add the section or leave the key out."
            )


def _check_channels(config: dict, module: str) -> Iterator[str]:
    names = config[module]["channel_names"]
    keys = ["bases", "dapi_channel", "cytoplasm_channels"]
    encoded = config[module].get("base_encoding") is not None
    if encoded or not set(config[module].get("bases", [])) & set(names):
        keys.remove("bases")  # `_check_encoding` looks at the channels they are seen in
    for key in keys:
        value = config[module].get(key) or []
        for name in [value] if isinstance(value, str) else value:
            if name not in names:
                yield (
                    f"config key {module}.{key} names {_show(name)}, which is none of "
                    f"{module}.channel_names ({', '.join(names)})."
                )


def _check_encoding(config: dict) -> Iterator[str]:
    sbs = config["sbs"]
    bases, encoding, names = sbs["bases"], sbs["base_encoding"], sbs["channel_names"]
    if encoding is None:
        if not set(bases) & set(names):
            yield (
                f"config key sbs.channel_names ({', '.join(names)}) names none of the bases "
                f"{', '.join(bases)}: say in sbs.base_encoding in which channels each base shines."
            )
        return
    key = "config key sbs.base_encoding"
    if set(encoding) != set(bases):
        missing = [base for base in bases if base not in encoding]
        unknown = [base for base in encoding if base not in bases]
        wrong = [f"says nothing of {', '.join(missing)}"] if missing else []
        wrong += [f"names {', '.join(map(_show, unknown))}, which is no base"] if unknown else []
        yield (
            f"{key} {' and '.join(wrong)}: give each of A, C, G, T the list of its channels, "
            "[] for a base without light."
        )
        return
    for base in bases:
        for name in encoding[base]:
            if name not in names:
                yield (
                    f"{key}.{base} names {_show(name)}, which is none of sbs.channel_names "
                    f"({', '.join(names)})."
                )
    for first, second in combinations(bases, 2):
        if set(encoding[first]) == set(encoding[second]):
            channels = f"the same channels ({', '.join(encoding[first]) or 'none'})"
            yield f"{key} gives {first} and {second} {channels}: no caller can tell them apart."
    if one_channel_each(bases, encoding):
        return
    count = len(base_channels(bases, encoding))
    if count >= len(bases):
        yield (
            f"{key} names {count} channels, but not one for each base: with four or more "
            "channels, each base must have a channel of its own."
        )
    if sbs["call_reads_method"] != "posterior":
        yield (
            f"config key sbs.call_reads_method is {sbs['call_reads_method']}, which takes the "
            "brightest channel for the base, but in sbs.base_encoding not every base has a channel "
            "of its own: set it to posterior."
        )


def _check_dapi(config: dict) -> Iterator[str]:
    sbs = config["sbs"]
    if sbs["base_encoding"] is not None and set(sbs["base_encoding"]) != set(sbs["bases"]):
        return
    shown = base_channels(sbs["bases"], sbs["base_encoding"])
    if sbs["dapi_channel"] in shown:
        kind = "a base" if sbs["base_encoding"] is None else "a channel of bases"
        yield (
            f"config key sbs.dapi_channel is {_show(sbs['dapi_channel'])}, which is {kind}: "
            "name the channel that shows the nuclei."
        )
    if set(sbs["channel_names"]) <= set(shown) and sbs["segmentation"]["method"] != "none":
        yield (
            "config key sbs.channel_names holds only bases, so there are no nuclei to segment: "
            "name their channel too, or set sbs.segmentation.method to none."
        )


def _check_spot_measure(config: dict) -> Iterator[str]:
    sbs = config["sbs"]
    if sbs["spot_measure"] == "auto" and sbs["call_reads_method"] != "posterior":
        yield (
            "config key sbs.spot_measure is auto, which counts the reads that the posterior caller "
            f"decodes, but sbs.call_reads_method is {sbs['call_reads_method']}: set it to "
            "posterior, or name a measure."
        )


def _check_cycles(config: dict) -> Iterator[str]:
    sbs = config["sbs"]
    for cycle in sorted(set(sbs["skip_cycles"]) & set(sbs["failed_cycles"])):
        yield (
            f"config keys sbs.skip_cycles and sbs.failed_cycles both name cycle {cycle}: "
            "skip it if it is no part of the sequence, else call it failed."
        )
    for key in ("skip_cycles", "failed_cycles", "no_dapi_cycles"):
        if sbs["reference_cycle"] in sbs[key]:
            yield (
                f"config key sbs.reference_cycle is {sbs['reference_cycle']}, which sbs.{key} "
                "names too: choose a cycle that is used and has the nuclear stain."
            )


def _check_positions(config: dict) -> Iterator[str]:
    sbs = config["sbs"]
    if sbs["recombination_cycles"] is None:
        return
    if sbs["mapping_cycles"] is None:
        yield (
            "config key sbs.recombination_cycles is set without sbs.mapping_cycles: "
            "give the barcode positions that identify the guide too."
        )
        return
    shared = set(sbs["mapping_cycles"]) & set(sbs["recombination_cycles"])
    if shared:
        yield (
            "config keys sbs.mapping_cycles and sbs.recombination_cycles both name position "
            f"{', '.join(map(str, sorted(shared)))}: a position serves one of them."
        )


def _check_areas(config: dict, module: str) -> Iterator[str]:
    segmentation = config[module]["segmentation"]
    for kind in ("nucleus", "cell"):
        least, most = (segmentation[f"{bound}_{kind}_area_px"] for bound in ("min", "max"))
        if least is not None and most is not None and least > most:
            yield (
                f"config key {module}.segmentation.min_{kind}_area_px is {least}, more than "
                f"max_{kind}_area_px, which is {most}: no {kind} would be left."
            )


def _check_alignment(config: dict) -> Iterator[str]:
    phenotype = config["phenotype"]
    names, alignment = phenotype["channel_names"], phenotype["alignment"]
    reference = alignment["reference_channel"] or phenotype["dapi_channel"] or names[0]
    grouped = [name for group in alignment["groups"] for name in group]
    named = {
        "alignment.reference_channel": [alignment["reference_channel"]],
        "alignment.groups": grouped,
        "alignment.offsets_px": list(alignment["offsets_px"]),
        "secondary_objects.channel": [phenotype["secondary_objects"]["channel"]],
    }
    for key, channels in named.items():
        for name in dict.fromkeys(channels):
            if name is not None and name not in names:
                yield (
                    f"config key phenotype.{key} names {_show(name)}, which is none of "
                    f"phenotype.channel_names ({', '.join(names)})."
                )
            elif name == reference and key in ("alignment.groups", "alignment.offsets_px"):
                yield (
                    f"config key phenotype.{key} names {name}, which is the reference channel and "
                    "stays where it is: leave it out, or set phenotype.alignment.reference_channel."
                )
    for name in dict.fromkeys(grouped):
        if grouped.count(name) > 1:
            yield (
                f"config key phenotype.alignment.groups names {name} in two groups: a channel "
                "moves with one of them."
            )


def _check_secondary(config: dict) -> Iterator[str]:
    phenotype = config["phenotype"]
    channel = phenotype["secondary_objects"]["channel"]
    named = {f"phenotype.{key}": phenotype[key] for key in ("checkpoints", "omezarr_stages")}
    named["omero.stages.phenotype"] = config["omero"]["stages"]["phenotype"]
    for key, stages in named.items():
        if channel is None and "segment_secondary" in stages:
            yield (
                f"config key {key} names segment_secondary, but no secondary objects are "
                "sought: set phenotype.secondary_objects.channel."
            )
    if channel is not None and phenotype["nuclei_only"]:
        yield (
            "config key phenotype.nuclei_only is true, so there are no cells that could hold "
            "secondary objects: set phenotype.secondary_objects.channel to null."
        )


def _check_omero(config: dict) -> Iterator[str]:
    omero = config["omero"]
    pictures = {
        module: [name for name in names if name not in LABEL_STAGES]
        for module, names in omero["stages"].items()
        if module in config
    }
    for module, names in pictures.items():
        masks = [name for name in omero["stages"][module] if name not in names]
        if masks and not names and omero["labels"] == "masks":
            yield (
                f"config key omero.stages.{module} names {', '.join(masks)} alone, and masks are "
                f"drawn over an image: name the stage too that shows it, such as align_{module}."
            )
    if omero["import"] and not any(pictures.values()) and omero["labels"] == "zarr":
        yield (
            "config key omero.stages leaves no image to import: name stages there, and for masks "
            "set omero.labels to image."
        )
    for key in ("local_roots", "mounts"):
        mounts = omero[key]
        paths = [*mounts, *mounts.values()] if isinstance(mounts, dict) else mounts
        for path in paths:
            if not str(path).startswith("/"):
                yield f"config key omero.{key} names {_show(path)}: write an absolute path."


def _check_registering(config: dict) -> Iterator[str]:
    if config["omero"]["mode"] != "register":
        return
    version = config["all"]["omezarr_version"]
    if version != "0.4":
        yield (
            f"config key all.omezarr_version is {version}, but omero.mode is register, which "
            "needs 0.4: set it so, or set omero.mode to upload."
        )


def _check_registered(config: dict, module: str) -> Iterator[str]:
    omero, section = config["omero"], config[module]
    if omero["mode"] != "register":
        return
    stages = [
        name
        for name in omero["stages"][module]
        if name not in LABEL_STAGES or omero["labels"] == "image"
    ]
    if not stages:
        return
    instead = "or set omero.mode to upload."
    for name in stages:
        if name not in section["omezarr_stages"]:
            yield (
                f"config key omero.stages.{module} names {name}, which is not in "
                f"{module}.omezarr_stages, and omero.mode is register: name it there, {instead}"
            )
    export = section["omezarr_export"]
    if not (config["all"]["omezarr_export_default"] if export is None else export):
        yield (
            f"config key omero.mode is register, but {module} writes no OME-Zarr stores: set "
            f"{module}.omezarr_export to true, {instead}"
        )
    if section["omezarr_coarsening_factor"] != 2:
        yield (
            f"config key {module}.omezarr_coarsening_factor is "
            f"{section['omezarr_coarsening_factor']}, but omero.mode is register, which needs 2: "
            f"set it so, {instead}"
        )


# A check runs when the sections it looks at are there and right in themselves.
_CHECKS: list[tuple[str, Callable[[dict], Iterator[str]]]] = [
    ("preprocess", _check_halves),
    ("sbs", partial(_check_channels, module="sbs")),
    ("phenotype", partial(_check_channels, module="phenotype")),
    ("sbs", partial(_check_areas, module="sbs")),
    ("phenotype", partial(_check_areas, module="phenotype")),
    ("phenotype", _check_alignment),
    ("phenotype omero", _check_secondary),
    ("sbs", _check_encoding),
    ("sbs", _check_dapi),
    ("sbs", _check_spot_measure),
    ("sbs", _check_cycles),
    ("sbs", _check_positions),
    ("omero", _check_omero),
    ("omero all", _check_registering),
    ("omero all sbs", partial(_check_registered, module="sbs")),
    ("omero all phenotype", partial(_check_registered, module="phenotype")),
]
