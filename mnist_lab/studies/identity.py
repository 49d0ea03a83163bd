"""Which recorded run belongs to this code?

1. `source`: a hash of the builder's text, of all it reaches, and of its settings. If a run of this source and seed is
   in the record, nothing is built, and Keras is not even imported.
2. `key` and `probe`: if the source has changed, the model is built. A recorded run is the same if Keras describes its
   model as this one (`key`), and its first two steps of training gave the same losses (`probe`).

A builder that reads a file or the clock is not noticed.
"""

import hashlib
import json
import re
import sys
import warnings

import numpy as np

from mnist_lab.studies.code import Code
from mnist_lab.training import VERSION

DROPPED = {"module", "registered_name", "build_config", "build_input_shape"}  # from Keras's description
DROPPED |= {"jit_compile", "steps_per_execution"}  # which the trainer decides


def digest(*parts: object) -> str:
    """A hash of plain data, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def keras_settings() -> list:
    """The settings of Keras as a whole that decide a run; their defaults where it has not been imported."""
    config = getattr(sys.modules.get("keras"), "config", None)
    return [config.dtype_policy().name, config.epsilon()] if config else ["float32", 1e-7]


def describe_run(code: Code, settings: dict, fit: dict) -> dict:
    """All that decides a run but its seed, in plain data; its digest is the source. `fit` is that of the training."""
    described = {name: code.describe(value, name) for name, value in settings.items()}
    run = {"settings": described, "training": fit, "code": code.text, "Keras": keras_settings(), "trainer": VERSION}
    return json.loads(json.dumps(run))  # as it is read from a file


def list_differences(new: object, old: object, name: str = "") -> list[str]:
    """In what two descriptions differ, in words: "batch_size 32 (recorded 128)"; of code, the first other line."""
    if new == old:
        return []
    if isinstance(new, dict) and isinstance(old, dict):
        return [text for key in new | old for text in list_differences(new.get(key), old.get(key), key)]
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [text for pair in zip(new, old, strict=True) for text in list_differences(*pair, name)]
    if "\n" in f"{new}{old}":
        lines = str(new).split("\n"), str(old).split("\n")
        name, new = "", next((line.strip() for line in lines[0] if line not in lines[1]), "a line less")
        old = next((line.strip() for line in lines[1] if line not in lines[0]), "without it")
    new, old = ("other" if isinstance(one, (list, dict)) else one for one in (new, old))
    return [f"{name} {new} (recorded: {old})".strip()]


def find_key(model, code: Code, source: str, fit: dict) -> str:
    """The key of a model's runs, of which only the seed is missing.

    Where Keras cannot describe the model, or it uses code that was made while it was built, the source stands for it.
    """
    from mnist_lab.keras import saving

    with warnings.catch_warnings(action="ignore"):  # about lambdas
        try:
            config = saving.serialize_keras_object(model)
        except Exception:  # a layer or a schedule without get_config raises errors of many kinds
            return digest("source", source, fit)
    names = set(_list_user_names(config))
    unknown = names - set(code.named)
    texts = {name: [Code(one).text for one in code.named[name]] for name in names & set(code.named)}
    places = {layer["name"]: place for place, layer in enumerate(config["config"].get("layers", [])) if "name" in layer}
    return digest(VERSION, _clean(config, places), texts, source if unknown else "", fit, keras_settings())


def _list_user_names(config: object) -> list[str]:
    """The names of the functions and classes in Keras's description that are not Keras's own."""
    if isinstance(config, (list, tuple)):
        return [name for entry in config for name in _list_user_names(entry)]
    if not isinstance(config, dict):
        return []
    names = _list_user_names(list(config.values()))
    kind, module = config.get("class_name"), str(config.get("module", "keras"))
    if kind == "function":
        return [*names, config["config"]]
    users = kind == "__lambda__" or not module.startswith(("keras", "mnist_lab", "builtins"))
    return [*names, kind] if kind and users else names


def _clean(config: object, places: dict[str, int], named: bool = False) -> object:
    """Keras's description without modules and empty entries; with names of metrics alone, and layers by their place."""
    if isinstance(config, (list, tuple)):
        return [_clean(entry, places, named) for entry in config]
    if not isinstance(config, dict):
        return places.get(config, config) if isinstance(config, str) else config
    if config.get("class_name") == "DTypePolicy":
        return config["config"]["name"]
    cleaned = {}
    for name, entry in config.items():
        if name == "name":  # Keras counts metrics of one name, from the start of the session
            entry = re.sub(r"_[0-9]+$", "", entry) if named else None
        entry = _clean(entry, places, named or "metrics" in name)
        if name not in DROPPED and not (entry is None or entry is False or entry in ([], {})):
            cleaned[name] = entry
    return cleaned


def is_close(probe: str, recorded: str) -> bool:
    """Whether two probes, as they are in the record, agree."""
    first, second = (np.array(text.split(), float) for text in (probe, recorded))
    tolerance = 1e-2 if "16" in keras_settings()[0] else 1e-3
    return len(first) == len(second) and np.allclose(first, second, tolerance, 1e-6, equal_nan=True)
