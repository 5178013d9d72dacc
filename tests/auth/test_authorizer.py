"""Which handler is asked, what it may answer, and what a filter means."""

import langgraph_sdk
import pytest
from starlette.exceptions import HTTPException as StarletteException

import loomline
from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.errors import BrokenAuth, Refused
from loomline.server.authz.filters import parse_filter
from loomline.server.authz.users import SERVER, Caller, User
from loomline.server.domain.access import EVERYTHING, AllOf, AnyOf, Equal, Has

ADA = Caller(User({"identity": "ada", "permissions": ["x"]}))


@pytest.fixture(params=[loomline.Auth, langgraph_sdk.Auth], ids=["loomline", "official"])
def auth(request):
    return request.param()


def answering(result):
    async def handler(ctx, value):
        if isinstance(result, BaseException):
            raise result
        return result

    return handler


async def ask(auth, resource="threads", action="create", value=None, caller=ADA):
    return await Authorizer(auth).allow(caller, resource, action, {} if value is None else value)


async def test_the_most_special_handler_is_asked(auth):
    asked = []

    def register(on, name):
        @on
        async def handler(ctx, value):
            asked.append(name)

    register(auth.on, "everything")
    register(auth.on(actions="read"), "reading")
    register(auth.on.threads, "threads")
    register(auth.on.threads.create, "creating threads")
    for resource, action in [
        ("threads", "create"), ("threads", "read"), ("crons", "read"), ("store", "put"),
    ]:  # fmt: skip
        await ask(auth, resource, action)
    assert asked == ["creating threads", "threads", "reading", "everything"]


async def test_requests_without_a_handler_are_allowed(auth):
    assert await ask(auth) == EVERYTHING
    assert await ask(None) == EVERYTHING
    auth.on(answering(False))
    assert await ask(auth, caller=SERVER) == EVERYTHING
    with pytest.raises(Refused):
        await ask(auth)


async def test_handler_receives_the_context_and_a_mutable_value(auth):
    seen = {}

    @auth.on
    async def handler(ctx, value):
        seen.update(ctx=ctx, value=value)
        value["metadata"] = {"n": 1}

    value = {"metadata": {}}
    await ask(auth, "crons", "search", value)
    ctx = seen["ctx"]
    assert (ctx.user.identity, ctx.user["identity"], ctx.permissions) == ("ada", "ada", ["x"])
    assert (ctx.resource, ctx.action) == ("crons", "search")
    assert isinstance(ctx, type(auth).types.AuthContext)
    assert isinstance(ctx.user, type(auth).types.BaseUser)
    assert seen["value"] is value
    assert value == {"metadata": {"n": 1}}


async def test_studio_user_is_recognised_by_its_type(auth):
    @auth.on
    async def handler(ctx, value):
        return isinstance(ctx.user, type(auth).types.StudioUser)

    assert await ask(auth, caller=Caller(ADA.user, studio=True)) == EVERYTHING
    fields = {"identity": "ada", "kind": "StudioUser"}
    with pytest.raises(Refused):
        await ask(auth, caller=Caller(User(fields)))


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        (False, 403, "Forbidden"),
        (AssertionError("not so"), 403, "not so"),
        (AssertionError(), 403, "Forbidden"),
        (loomline.Auth.exceptions.HTTPException(418, "tea"), 418, "tea"),
        (langgraph_sdk.Auth.exceptions.HTTPException(status_code=402), 402, "Payment Required"),
        (StarletteException(429, "slow"), 429, "slow"),
    ],
)
async def test_refusal_of_a_handler_has_its_status_and_detail(auth, result, status, text):
    auth.on(answering(result))
    with pytest.raises(Refused, match=f"^{text}$") as caught:
        await ask(auth)
    assert caught.value.status == status


@pytest.mark.parametrize("result", ["yes", 1, 0, [], ["owner"], ("owner",), object(), b""])
async def test_invalid_handler_result_is_a_broken_handler(auth, result):
    auth.on(answering(result))
    with pytest.raises(BrokenAuth, match="Expected filter dict, None, or boolean"):
        await ask(auth)


class WithStatus(Exception):  # as clients of other services have them
    status_code = 404


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("x"), WithStatus()])
async def test_unexpected_error_of_a_handler_is_raised(auth, error):
    auth.on(answering(error))
    with pytest.raises(type(error)):
        await ask(auth)


async def test_metadata_that_no_row_can_hold(auth):
    @auth.on
    async def handler(ctx, value):
        value["metadata"] = {"owner": object()}

    with pytest.raises(BrokenAuth, match="metadata"):
        await ask(auth, value={})


async def test_a_filter_for_the_store_is_a_mistake(auth):
    auth.on(answering({"owner": "ada"}))
    with pytest.raises(BrokenAuth, match=r"@auth\.on\.store"):
        await Authorizer(auth).check(ADA, "store", "put", {})
    auth.on.store(actions="put")(answering({}))
    await Authorizer(auth).check(ADA, "store", "put", {})


A, B = Equal("a", 1), Equal("b", 2)


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        ({}, EVERYTHING),
        ({"a": 1}, A),
        ({"a": {"$eq": 1}}, A),
        ({"a": 1, "b": {"$eq": 2}}, AllOf((A, B))),
        ({"a": {"$contains": "x"}}, Has("a", ("x",))),
        ({"a": {"$contains": ["x", "y"]}}, Has("a", ("x", "y"))),
        ({"a": {"$contains": []}}, Has("a", ())),
        ({"a": {"$eq": 1, "$contains": "x"}}, AllOf((A, Has("a", ("x",))))),
        ({"$or": [{"a": 1}, {"b": 2}]}, AnyOf((A, B))),
        ({"$and": [{"a": 1}, {"$or": [{"a": 1}, {"b": 2}]}]}, AllOf((A, AnyOf((A, B))))),
        ({"a": 1, "$or": ({"a": 1}, {"b": 2})}, AllOf((A, AnyOf((A, B))))),
        ({"a": {"nested": {"b": [1]}}}, Equal("a", {"nested": {"b": [1]}})),
        ({"a": [1, 2]}, Equal("a", [1, 2])),
        ({"a": {}}, Equal("a", {})),
        ({"a": None}, Equal("a", None)),
        ({"a": ("x",)}, Equal("a", ["x"])),
    ],
)
def test_filter_of_a_handler_becomes_a_condition(given, condition):
    assert parse_filter(given) == condition


def deep(levels):
    return {"a": 1} if levels == 0 else {"$or": [deep(levels - 1), {"a": 1}]}


@pytest.mark.parametrize(
    "given",
    [
        {"a": {"$ne": 1}},
        {"a": {"$in": [1]}},
        {"a": {"$not": {"$eq": 1}}},
        {"a": {"$exists": True}},
        {"a": {"$eq": 1, "b": 2}},
        {"a": {"$EQ": 1}},
        {"$eq": 1},
        {"$not": {"a": 1}},
        {"$nor": [{"a": 1}, {"b": 2}]},
        {"$or": [{"a": 1}]},
        {"$or": []},
        {"$or": {"a": 1}},
        {"$and": [{"a": 1}, "b"]},
        {"$and": [{"a": {"$gt": 1}}, {"b": 2}]},
        {"a": {"$contains": {"b": 1}}},
        {"a": {"$contains": [["b"]]}},
        {"a": object()},
        {"a": float("nan")},
        {1: 2},
        {"a": {"$eq": 2**70}},
        deep(100),
    ],
)
def test_a_filter_that_means_nothing_matches_nothing(given):
    with pytest.raises(BrokenAuth):
        parse_filter(given)


def test_users_are_told_apart_and_travel():
    user = User({"identity": "ada", "org": {"id": 1}, "client": object(), "tags": {1}})
    assert (user.identity, user.display_name, user.permissions) == ("ada", "ada", [])
    assert (user.org, user["org"], user.get("none"), "org" in user) == (
        {"id": 1},
        {"id": 1},
        None,
        True,
    )
    assert dict(**user)["identity"] == "ada"
    assert "identity" in list(user)
    assert repr(user) == "User('ada')"
    with pytest.raises(AttributeError, match="no 'nope'"):
        _ = user.nope
    again = User.load(user.dump())
    assert again == User.load(again.dump())
    assert (again.org, again.tags, "client" in again) == ({"id": 1}, [1], False)
    assert len({user, again}) == 2
