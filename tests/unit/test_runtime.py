"""What factories are handed."""

import dataclasses
from typing import get_args

import langgraph_sdk.runtime
import pytest

from loomline.auth.types import StudioUser
from loomline.runtime import ServerRuntime, _ExecutionRuntime, _ReadRuntime

USER = StudioUser("ada", True)


def test_a_graph_that_is_to_run():
    runtime = _ExecutionRuntime(
        access_context="threads.create_run", store=None, user=USER, context=5
    )
    assert runtime.execution_runtime is runtime
    assert runtime.execution_runtime.context == 5
    assert runtime.ensure_user() is USER


def test_a_graph_that_is_not_to_run():
    runtime = _ReadRuntime(access_context="assistants.read", store=None)
    assert runtime.execution_runtime is None
    assert not hasattr(runtime, "context")
    with pytest.raises(PermissionError, match=r"assistants\.read"):
        runtime.ensure_user()


def test_another_packages_object_can_count_as_one():
    # A class for this test: registering cannot be undone.
    class Ours(_ExecutionRuntime):
        __slots__ = ()

    theirs = langgraph_sdk.runtime._ExecutionRuntime(
        access_context="threads.create_run", store=None, context=5
    )
    assert not isinstance(theirs, Ours)
    Ours.register(type(theirs))
    assert isinstance(theirs, Ours)
    assert isinstance(theirs, _ExecutionRuntime)
    assert not isinstance(theirs, _ReadRuntime)


def test_it_cannot_be_changed():
    runtime = _ReadRuntime(access_context="threads.read", store=None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        runtime.user = USER


def test_the_type_has_a_parameter():
    execution, read = get_args(ServerRuntime.__value__)
    assert (execution.__origin__, read.__origin__) == (_ExecutionRuntime, _ReadRuntime)
    assert ServerRuntime[int] is not None
