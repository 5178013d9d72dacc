"""The handlers of `loomline.auth`, and how like those of the official package a server finds them."""

from typing import Any

import langgraph_sdk.auth
import pytest

import loomline.auth
from loomline import Auth
from loomline.auth import is_studio_user, types
from loomline.auth.exceptions import HTTPException

BOTH = pytest.mark.parametrize(
    "kind", [loomline.auth.Auth, langgraph_sdk.auth.Auth], ids=["ours", "theirs"]
)


def handler():
    async def handle(ctx, value):
        return None

    return handle


# Each registers something; both packages must end with the same keys, or with the same error.
REGISTRATIONS = {
    "everything": lambda auth: auth.on(handler()),
    "everything, called": lambda auth: auth.on()(handler()),
    "everything, twice": lambda auth: [auth.on(handler()), auth.on(handler())],
    "resources": lambda auth: auth.on(resources=["threads", "crons"])(handler()),
    "one resource": lambda auth: auth.on(resources="store")(handler()),
    "actions": lambda auth: auth.on(actions=["read", "create"])(handler()),
    "resources and actions": lambda auth: auth.on(resources=["threads", "crons"], actions="read")(
        handler()
    ),
    "a resource": lambda auth: auth.on.threads(handler()),
    "a resource, called": lambda auth: auth.on.assistants()(handler()),
    "a resource, twice": lambda auth: [auth.on.crons(handler()), auth.on.crons(handler())],
    "an action": lambda auth: auth.on.threads.create(handler()),
    "every action": lambda auth: [
        getattr(getattr(auth.on, resource), action)(handler())
        for resource in ("threads", "assistants", "crons")
        for action in ("create", "read", "update", "delete", "search")
    ],
    "runs": lambda auth: auth.on.threads.create_run(handler()),
    "an action, twice": lambda auth: [
        auth.on.threads.read(handler()),
        auth.on.threads.read(handler()),
    ],
    "named actions": lambda auth: auth.on.threads(actions=["create", "create_run"])(handler()),
    "one named action": lambda auth: auth.on.threads(actions="read")(handler()),
    "itself as a resource": lambda auth: auth.on.threads(resources="threads")(handler()),
    "an unknown action": lambda auth: auth.on.threads(actions=["read", "fly"])(handler()),
    "an action of another resource": lambda auth: auth.on.crons(actions=["create_run"])(handler()),
    "no actions": lambda auth: auth.on.threads(actions=[])(handler()),
    "an action twice in a list": lambda auth: auth.on.threads(actions=["read", "read"])(handler()),
    "a number as actions": lambda auth: auth.on.threads(actions=5)(handler()),
    "a number among actions": lambda auth: auth.on.threads(actions=["read", 5])(handler()),
    "another resource": lambda auth: auth.on.threads(resources=["crons"])(handler()),
    "the store": lambda auth: auth.on.store(handler()),
    "actions of the store": lambda auth: auth.on.store(actions=["put", "get"])(handler()),
    "every action of the store": lambda auth: [
        getattr(auth.on.store, action)(handler())
        for action in ("put", "get", "search", "delete", "list_namespaces")
    ],
    "not asynchronous": lambda auth: auth.on(lambda ctx, value: None),
    "no resources, of a resource": lambda auth: auth.on.threads(resources=[])(handler()),
    "a set of resources": lambda auth: auth.on.threads(resources={"threads"})(handler()),
    "everything of the store": lambda auth: auth.on.store(actions="*")(handler()),
    "without value": lambda auth: auth.on(without_value),
    "without ctx": lambda auth: auth.on.threads.read(without_context),
}


async def without_value(ctx):
    return None


async def without_context(value):
    return None


def registered(kind, register):
    auth = kind()
    try:
        register(auth)
    except (TypeError, ValueError) as error:
        return type(error), set(auth._handlers), len(auth._global_handlers)
    return None, set(auth._handlers), len(auth._global_handlers)


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_handlers_are_registered_as_a_server_looks_for_them(name):
    ours = registered(loomline.auth.Auth, REGISTRATIONS[name])
    assert ours == registered(langgraph_sdk.auth.Auth, REGISTRATIONS[name])
    assert ours[0] or ours[1] or ours[2]


@BOTH
def test_decorators_return_the_function(kind):
    auth, first, second, third = kind(), handler(), handler(), handler()
    assert auth.on.threads.create(first) is first
    assert auth.on.threads(actions="read")(second) is second
    assert auth.authenticate(third) is third
    assert auth._handlers == {("threads", "create"): [first], ("threads", "read"): [second]}
    assert auth._authenticate_handler is third
    assert auth._handler_cache == {}


def test_a_registration_is_whole_or_nothing():
    auth = Auth()
    auth.on.threads.read(handler())
    with pytest.raises(ValueError, match=r"a handler of threads, read already"):
        auth.on.threads(actions=["create", "read"])(handler())
    assert set(auth._handlers) == {("threads", "read")}


def test_a_list_names_nothing_twice():
    auth = Auth()
    with pytest.raises(ValueError, match=r"a handler of threads, \* already"):
        auth.on(resources=["threads", "threads"])(handler())
    assert auth._handlers == {}


def test_there_is_one_authenticator():
    auth = Auth()
    auth.authenticate(handler())
    with pytest.raises(ValueError, match="authentication handler already"):
        auth.authenticate(handler())


@pytest.mark.parametrize("chosen", [{"resources": []}, {"actions": []}])
def test_an_empty_list_is_neither_nothing_nor_everything(chosen):
    auth = Auth()
    with pytest.raises(ValueError, match="must not be empty: leave it out to mean all"):
        auth.on(**chosen)(handler())
    assert (auth._handlers, auth._global_handlers) == ({}, [])


def test_the_store_has_no_other_actions():
    with pytest.raises(ValueError, match="Unknown actions of store: fly"):
        Auth().on.store(actions=["fly"])


def test_invalid_handlers_are_refused_with_a_remedy():
    auth = Auth()
    with pytest.raises(ValueError, match="put 'async' before 'def'"):
        auth.on(lambda ctx, value: None)
    with pytest.raises(ValueError, match="'without_value' must have a parameter 'value'"):
        auth.on(without_value)
    with pytest.raises(ValueError, match=r"Use @auth\.on\(\.\.\.\)"):
        auth.on.threads(resources="crons")(handler())


def test_runs_are_declared_and_not_there():
    with pytest.raises(AttributeError):
        _ = Auth().on.runs


def test_the_types_of_values():
    on = Auth().on
    assert on.value == dict[str, Any]
    assert on.threads.create.value is types.ThreadsCreate
    assert on.threads.create_run.value is types.RunsCreate
    assert on.crons.Search is types.CronsSearch
    assert on.store.put.value is types.StorePut
    assert types.on.store.list_namespaces.value is types.StoreListNamespaces


@pytest.mark.parametrize(
    ("arguments", "text", "shown"),
    [
        ((), "401: Unauthorized", "HTTPException(status_code=401, detail='Unauthorized')"),
        ((403, "no"), "403: no", "HTTPException(status_code=403, detail='no')"),
        ((404,), "404: Not Found", "HTTPException(status_code=404, detail='Not Found')"),
        ((599,), "599: HTTP Error", "HTTPException(status_code=599, detail='HTTP Error')"),
    ],
)
def test_http_exception_has_status_detail_and_headers(arguments, text, shown):
    error = HTTPException(*arguments)
    assert (str(error), repr(error), error.headers) == (text, shown, None)
    assert isinstance(error, Exception)


def test_refusals_may_have_headers():
    headers = {"WWW-Authenticate": "Bearer"}
    assert Auth.exceptions.HTTPException(401, headers=headers).headers == headers


def dict_of(user):
    return {name: user[name] for name in user}


@pytest.mark.parametrize(("known", "permissions"), [(True, ["authenticated"]), (False, [])])
def test_developers_in_a_studio(known, permissions):
    user = types.StudioUser("ada", known)
    assert (user.identity, user.display_name, user.is_authenticated) == ("ada", "ada", known)
    assert user.permissions == permissions
    assert isinstance(user, types.BaseUser)
    assert isinstance(user, types.MinimalUser)
    assert dict_of(user) == {
        "identity": "ada", "display_name": "ada", "is_authenticated": known, "permissions": permissions,
    }  # fmt: skip
    assert "nothing" not in user
    with pytest.raises(KeyError):
        user["nothing"]
    assert is_studio_user(user)


@pytest.mark.parametrize(
    ("user", "studio"),
    [
        ({"identity": "a", "kind": "StudioUser"}, True),
        ({"identity": "a"}, False),
        (object(), False),
    ],
)
def test_who_is_not_in_a_studio(user, studio):
    assert is_studio_user(user) is studio


def test_required_keys_are_known_at_run_time():
    assert types.MinimalUserDict.__required_keys__ == {"identity"}
    assert types.ThreadsCreate.__required_keys__ == frozenset()
    assert types.AssistantsSearch.__optional_keys__ == frozenset()
