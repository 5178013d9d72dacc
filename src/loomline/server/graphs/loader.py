"""Imports what ``langgraph.json`` names, with errors that say what to do."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from langgraph.graph.state import StateGraph
from langgraph.pregel import Pregel

from loomline.server.domain.errors import GraphLoadError
from loomline.server.graphs.spec import SCRIPTS, GraphSpec

_OFFERED = 10
"""Names of a file that an error lists."""


def extend_path(folders: Iterable[Path]) -> None:
    """Put folders on the import path, before everything else, each once."""
    for folder in reversed([str(folder) for folder in folders]):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def load_object(spec: GraphSpec) -> object:
    """Return the object that an entry of ``graphs`` names.

    Raises:
        GraphLoadError: it cannot be imported, or is nothing that can be served.
    """
    found = load_attribute(spec)
    if not (isinstance(found, (Pregel, StateGraph)) or callable(found)):
        raise _failure(
            spec,
            f"'{spec.attribute}' is of type '{type(found).__name__}'. It must be a compiled graph,"
            " a StateGraph, or a function that returns one.",
        )
    return found


def load_attribute(spec: GraphSpec) -> object:
    """Return whatever a spec names.

    Raises:
        GraphLoadError: it cannot be imported.
    """
    module = _module(spec)
    found: object = module
    for name in spec.attribute.split("."):
        if not hasattr(found, name):
            raise _failure(spec, _missing(module, spec.attribute))
        found = getattr(found, name)
    return found


def _module(spec: GraphSpec) -> ModuleType:
    try:
        if spec.path is not None:
            return _from_file(spec, spec.path)
        return importlib.import_module(spec.module or "")
    except GraphLoadError:
        raise
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}"
        raise _failure(spec, f"the file has a syntax error ({error.msg}) at {place}.") from error
    except ModuleNotFoundError as error:
        raise _failure(spec, _not_installed(spec, error)) from error
    except BaseException as error:  # a user's module may raise anything, even SystemExit
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failure(spec, _raised(error)) from error


def _from_file(spec: GraphSpec, path: Path) -> ModuleType:
    if not path.is_file():
        raise _failure(spec, f"there is no file '{path}'. {_looked(spec)}")
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise _failure(spec, _not_python(path))
    module = importlib.util.module_from_spec(found)
    # Before it is executed: classes look their own module up while they are being made.
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module_name(path: Path) -> str:
    """Return the file's own name where it is importable, else one that no other file has."""
    found = _importable(path.stem) if path.stem.isidentifier() else None
    if found is not None and found == path.resolve():
        return path.stem
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    return f"{path.stem}_{digest}"


def _importable(name: str) -> Path | None:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return None if found is None or found.origin is None else Path(found.origin).resolve()


def _missing(module: ModuleType, attribute: str) -> str:
    graphs = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and _is_servable(value, module)
    ]
    offered = f" It has: {', '.join(graphs[:_OFFERED])}." if graphs else ""
    return f"the file has no '{attribute}'.{offered}"


def _is_servable(value: object, module: ModuleType) -> bool:
    if isinstance(value, (Pregel, StateGraph)):
        return True
    return inspect.isfunction(value) and value.__module__ == module.__name__


def _not_installed(spec: GraphSpec, error: ModuleNotFoundError) -> str:
    name = error.name
    if name is None:
        return _raised(error)
    if spec.module is not None and f"{spec.module}.".startswith(f"{name}."):
        return f"there is no module '{name}'. Check the name, or put its folder on the path."
    return (
        f"the module '{name}' is not installed, which is imported{_place(error)}. Install its"
        ' package with pip install; if it is your own, name its folder in "dependencies" of'
        " langgraph.json."
    )


def _raised(error: BaseException) -> str:
    return f"importing it raised {type(error).__name__}: {error}{_place(error)}."


def _place(error: BaseException) -> str:
    """Return the last line of the user's own that an exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    user = [frame for frame in frames if not frame.filename.startswith(_foreign())]
    return f" at {user[-1].filename}, line {user[-1].lineno}" if user else ""


@lru_cache(maxsize=1)
def _foreign() -> tuple[str, ...]:
    """Return where code comes from that is not the user's."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(kind) + os.sep for kind in kinds]
    return (*paths, "<frozen ", __file__)


def _failure(spec: GraphSpec, reason: str) -> GraphLoadError:
    return GraphLoadError(spec.graph_id, spec.source, reason, spec.kind)


def _looked(spec: GraphSpec) -> str:
    places = "" if spec.searched is None else f" Looked for it at {spec.searched}."
    return f"Check the path in langgraph.json.{places}"


def _not_python(path: Path) -> str:
    if path.suffix in SCRIPTS:
        return (
            f"'{path.name}' is in JavaScript or TypeScript, and Loomline serves graphs in Python."
            " Serve it with a server for JavaScript, and call it from a graph in Python with"
            " RemoteGraph."
        )
    return f"'{path.name}' is no Python file."
