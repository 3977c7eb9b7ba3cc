"""Recipes: Python files outside the library that say what is trained and on what."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import typing
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any


def load_recipe(path: str | os.PathLike[str]) -> ModuleType:
    """Import a recipe by its path.

    Args:
        path: a Python file that defines `Settings` (a frozen dataclass whose fields all have
            defaults) and `run(settings, folder)`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file defines no such names.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no recipe {file}; they are in training/recipes")
    spec = importlib.util.spec_from_file_location(f"dwpose_recipe_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not dataclasses.is_dataclass(getattr(module, "Settings", None)) or not callable(
        getattr(module, "run", None)
    ):
        raise ValueError(f"{file} must define a dataclass Settings and a function run")
    return module


def change(settings: Any, changes: Iterable[str]) -> Any:
    """Return settings with ``key=value`` texts applied, read by each field's own type.

    Args:
        settings: a dataclass whose fields are str, int, float, bool or an optional of those.
        changes: texts such as ``batch=64``; ``none`` clears an optional field.

    Raises:
        ValueError: an unknown key, or a value that is not of the field's type.
    """
    kinds = typing.get_type_hints(type(settings))
    names = [field.name for field in dataclasses.fields(settings)]
    values: dict[str, Any] = {}
    for text in changes:
        key, sign, value = text.partition("=")
        if not sign or key not in names:
            raise ValueError(f"--set {text}: the settings are {', '.join(names)}")
        values[key] = _read(key, value, kinds[key])
    return dataclasses.replace(settings, **values)


def _read(key: str, value: str, kind: Any) -> Any:
    options = typing.get_args(kind) or (kind,)
    if type(None) in options and value.lower() == "none":
        return None
    wanted = next(option for option in options if option is not type(None))
    if wanted is bool:
        if value.lower() in {"true", "false"}:
            return value.lower() == "true"
        raise ValueError(f"--set {key}={value}: use true or false")
    try:
        return wanted(value)
    except ValueError:
        raise ValueError(f"--set {key}={value}: must be {wanted.__name__}") from None
