"""The user's own checkpoint saver: imported at the start, opened on the loop of the graphs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from typing import Final, TypeAlias
from uuid import uuid4

from langgraph.checkpoint.base import BaseCheckpointSaver

from loomline.server.domain.errors import CheckpointerLoadError, GraphLoadError
from loomline.server.graphs.loader import load_attribute
from loomline.server.graphs.spec import GraphSpec
from loomline.server.ports.savers import has_method

logger: logging.Logger = logging.getLogger("loomline.graphs")

Saver: TypeAlias = BaseCheckpointSaver[str]

OpenSaver: TypeAlias = Callable[[], AbstractAsyncContextManager[Saver]]
"""Returns a context manager that opens the saver and closes it."""

REQUIRED: Final = ("aput", "aput_writes", "aget_tuple", "alist", "adelete_thread")
"""The methods without which a saver cannot serve."""

OPTIONAL: Final = {
    "acopy_thread": "threads are copied checkpoint by checkpoint, which is slow",
    "adelete_for_runs": (
        "runs cannot be rolled back, and the checkpoints of a deleted run stay in its thread"
    ),
    "aprune": (
        "threads cannot be pruned to their latest state, and a TTL 'keep_latest' does nothing"
    ),
}
"""The methods that a saver may lack, each with the consequence."""

_MUST: Final = (
    "It must be an async context manager function that yields a checkpoint saver, a checkpoint"
    " saver, or a function without parameters that returns one."
)

_ASYNC: Final = "Use a saver with async methods, such as AsyncSqliteSaver or AsyncPostgresSaver."


def load_checkpointer(spec: GraphSpec) -> OpenSaver:
    """Import the object that ``checkpointer.path`` names.

    Raises:
        CheckpointerLoadError: The object cannot be imported, or makes no saver.
    """
    try:
        found = load_attribute(spec)
    except GraphLoadError as error:
        raise CheckpointerLoadError(spec.source, error.reason) from error
    if inspect.isasyncgenfunction(found):
        found = asynccontextmanager(found)
    elif inspect.isgeneratorfunction(found):
        found = contextmanager(found)
    if not callable(found) and not _is_saver_or_manager(found):
        kind = type(found).__name__
        raise CheckpointerLoadError(spec.source, f"'{spec.attribute}' is of type '{kind}'. {_MUST}")
    needed = _required_parameters(found)
    if needed:
        raise CheckpointerLoadError(
            spec.source, f"'{spec.attribute}' requires the parameter '{needed[0]}'. {_MUST}"
        )
    return partial(_opened, spec, found)


@asynccontextmanager
async def _opened(spec: GraphSpec, found: object) -> AsyncIterator[Saver]:
    async with AsyncExitStack() as stack:
        try:
            saver = _checked(spec, await _entered(found, stack))
            await _probe(spec, saver)
            _log(saver)
        except CheckpointerLoadError:
            raise
        except Exception as error:  # a driver may raise any error
            reason = f"opening it raised {type(error).__name__}: {error}"
            raise CheckpointerLoadError(spec.source, reason) from error
        yield saver


async def _entered(found: object, stack: AsyncExitStack) -> object:
    made = found
    if isinstance(found, type) or not _is_saver_or_manager(found):
        made = found()  # type: ignore[operator]  # checked when it was loaded
    if inspect.isawaitable(made):
        made = await made
    entered: object = made
    if isinstance(made, AbstractAsyncContextManager):
        entered = await stack.enter_async_context(made)
    elif isinstance(made, AbstractContextManager):
        entered = stack.enter_context(made)
    # A saver may be a context manager of itself that returns anything.
    return made if isinstance(made, BaseCheckpointSaver) else entered


def _checked(spec: GraphSpec, made: object) -> Saver:
    if not isinstance(made, BaseCheckpointSaver):
        raise CheckpointerLoadError(
            spec.source,
            f"'{spec.attribute}' made an object of type '{type(made).__name__}'. {_MUST}",
        )
    missing = _missing(made, REQUIRED)
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise CheckpointerLoadError(
            spec.source, f"'{type(made).__name__}' does not implement {names}. {_ASYNC}"
        )
    return made


async def _probe(spec: GraphSpec, saver: Saver) -> None:
    """Read a checkpoint that does not exist, so that a saver that cannot work ends the start."""
    place = {"thread_id": str(uuid4()), "checkpoint_ns": ""}
    try:
        await saver.aget_tuple({"configurable": place})
    except NotImplementedError as error:
        raise CheckpointerLoadError(
            spec.source, f"'{type(saver).__name__}' has no async methods. {_ASYNC}"
        ) from error
    except Exception as error:
        raise CheckpointerLoadError(
            spec.source,
            f"reading a checkpoint raised {type(error).__name__}: {error}. Check the connection,"
            " and whether the saver needs 'await saver.setup()' before it is used.",
        ) from error


def _log(saver: Saver) -> None:
    kind = type(saver).__name__
    logger.info("checkpoints are kept by your own saver", extra={"saver": kind})
    for name in _missing(saver, OPTIONAL):
        logger.warning("'%s' does not implement '%s': %s", kind, name, OPTIONAL[name])


def _missing(saver: Saver, names: Iterable[str]) -> list[str]:
    return [name for name in names if not has_method(saver, name)]


def _is_saver_or_manager(found: object) -> bool:
    kinds = (BaseCheckpointSaver, AbstractAsyncContextManager, AbstractContextManager)
    return isinstance(found, kinds)


def _required_parameters(found: object) -> list[str]:
    if _is_saver_or_manager(found) or isinstance(found, type):
        return []
    parameters = inspect.signature(found).parameters.values()  # type: ignore[arg-type]
    return [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
    ]
