"""Every resource is served, documented and switched off by its group; parameters tell the truth."""

import importlib
import json
import pkgutil
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Match, Route, WebSocketRoute

import loomline.server.api
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.openapi import document
from loomline.server.api.queries import (
    ChoiceQuery,
    ConsentQuery,
    FlagQuery,
    IntegerQuery,
    LevelsQuery,
    ListQuery,
    OptionalFlagQuery,
    Query,
    RepeatedQuery,
    StringQuery,
    UuidQuery,
    WordsQuery,
)
from loomline.server.api.routes import enabled, open_paths, starlette_routes, table
from loomline.server.api.schemas import STRING, Named, fields, named_schemas
from loomline.server.api.wire import json_response
from loomline.server.app.process import assemble, create_app
from loomline.server.authn.setup import set_up
from loomline.server.clock import SystemClock
from loomline.server.domain.errors import InvalidInput
from loomline.server.front import Front
from loomline.server.graphs.registry import Graphs
from loomline.server.ports.measures import NO_MEASURES
from loomline.server.settings import load_settings
from loomline.server.settings.http import GROUPS

TOPIC = StringQuery("topic", help="The subject of the greeting.", required=True)
GREETING = Named("Greeting", fields({"text": STRING}))


class Greetings(Resource):
    """A new subject: everything about its route is in this class and the two objects above."""

    tag = "greetings"
    group = "ui"

    async def greet(self, request):
        return json_response({"text": f"Hello, {TOPIC.read(request)}"})

    def table(self):
        return [
            Entry(
                "GET", "/greetings", self.greet, "Greet", GREETING, query=(TOPIC,), errors=(422,)
            ),
        ]  # fmt: skip


GRAPH = """
from langgraph.graph import START, StateGraph
graph = StateGraph(dict).add_node("node", lambda state: state).add_edge(START, "node").compile()
"""

MODULES = [
    importlib.import_module(each.name)
    for each in pkgutil.iter_modules(loomline.server.api.__path__, "loomline.server.api.")
]

WRONG = {
    IntegerQuery: "-1",
    FlagQuery: "perhaps",
    OptionalFlagQuery: "perhaps",
    LevelsQuery: "0",
    ChoiceQuery: "perhaps",
    UuidQuery: "perhaps",
    WordsQuery: "perhaps",
}
"""A value that the parameters of a kind do not allow."""

FREE = {ConsentQuery, ListQuery, RepeatedQuery, StringQuery}
"""Kinds of parameters that allow every string."""

THREAD = "0f5a9d3c-6a1e-4c5e-9b7d-2f4f0a1b2c3d"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resources")
    (folder / "agent.py").write_text(GRAPH)
    (folder / "langgraph.json").write_text('{"graphs": {"agent": "./agent.py:graph"}}')
    flags = {"config": str(folder / "langgraph.json"), "data_dir": str(folder / "data")}
    return load_settings(flags, {}, dev=False)


@pytest.fixture(scope="module")
def parts(settings):
    auth = set_up(settings.auth, {}, SystemClock())
    return assemble(settings, Graphs.load(settings.graphs), auth, Front(settings, auth))


@pytest.fixture(scope="module")
def app(settings):
    return create_app(settings)


@pytest.fixture
async def http(app):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def query_parameters(resources):
    return {query for entry in table(resources) for query in entry.query}


def request(query, *values):
    """Return a request with the values of one query parameter."""
    line = str(httpx.QueryParams([(query.name, value) for value in values])).encode()
    return Request({"type": "http", "query_string": line, "headers": []})


def test_every_resource_class_is_in_the_list_of_the_composition_root(parts):
    classes = {
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Resource) and value is not Resource
    }
    assert classes == {type(resource) for resource in parts.resources}


async def test_every_entry_of_a_resource_is_served_and_documented(parts, app, http):
    listed = {(entry.method, entry.path) for entry in table(parts.resources)}
    served = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods - {"HEAD"}
    }
    document = (await http.get("/openapi.json")).json()
    documented = {
        (method.upper(), path) for path, found in document["paths"].items() for method in found
    }
    assert listed == served == documented


def test_every_socket_of_a_resource_is_served(parts, app):
    listed = {socket.path for resource in parts.resources for socket in resource.sockets()}
    assert listed
    assert listed == {route.path for route in app.routes if isinstance(route, WebSocketRoute)}


async def test_a_new_resource_is_served_from_its_module_alone():
    routes = starlette_routes(table([Greetings()]), NO_MEASURES)
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/greetings", params={"topic": "world"})
    assert (answer.status_code, answer.json()) == (200, {"text": "Hello, world"})


def test_a_new_resource_is_documented_from_its_module_alone():
    whole = json.loads(document([Greetings()], "1.0", protected=True))
    operation = whole["paths"]["/greetings"]["get"]
    assert (operation["tags"], operation["summary"]) == (["greetings"], "Greet")
    assert operation["parameters"] == [
        {
            "name": "topic",
            "in": "query",
            "description": "The subject of the greeting.",
            "required": True,
            "schema": {"type": "string"},
        }
    ]
    good = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert good == {"$ref": "#/components/schemas/Greeting"}
    assert whole["components"]["schemas"]["Greeting"]["required"] == ["text"]
    assert {"401", "403", "422"} <= operation["responses"].keys()


def test_a_new_resource_needs_authentication_and_is_disabled_with_its_group():
    assert open_paths([Greetings()]) == frozenset()
    assert enabled([Greetings()], {"ui"}) == []


def test_every_group_of_a_resource_is_an_option(parts):
    assert {each.group for each in parts.resources if each.group} <= set(GROUPS)


def test_a_disabled_group_removes_its_resources_and_no_others(parts):
    for group in GROUPS:
        left = enabled(parts.resources, {group})
        assert left == [each for each in parts.resources if each.group != group]


def test_no_route_hides_a_later_one(parts):
    routes = starlette_routes(table(parts.resources), parts.measures)
    for entry in table(parts.resources):
        path = re.sub(r"{\w+}", THREAD, entry.path)
        scope = {"type": "http", "method": entry.method, "path": path, "headers": []}
        found = next(route for route in routes if route.matches(scope)[0] is Match.FULL)
        assert found.path == entry.path


def test_every_named_schema_has_one_definition(parts):
    found = {}
    answers = [entry.answer for entry in table(parts.resources)]
    contents = [getattr(answer, "schemas", answer) for answer in answers]
    for schema in named_schemas(contents):
        assert found.setdefault(schema.name, schema.definition) == schema.definition, schema.name
    assert len(found) > 20


async def test_every_reference_of_the_document_has_a_schema(http):
    answer = await http.get("/openapi.json")
    names = set(re.findall(r'"#/components/schemas/(\w+)"', answer.text))
    assert names
    assert names <= set(answer.json()["components"]["schemas"])


def test_every_named_schema_of_a_module_is_an_answer(parts):
    used = [entry.answer for entry in table(parts.resources)]
    used += [entry.malformed for entry in table(parts.resources)]
    found = {each.name for each in named_schemas([getattr(each, "schemas", each) for each in used])}
    for module in MODULES:
        for value in vars(module).values():
            assert not isinstance(value, Named) or value.name in found, value.name


def test_every_query_parameter_of_a_module_is_in_a_table(parts):
    listed = query_parameters(parts.resources)
    for module in MODULES:
        for name, value in vars(module).items():
            assert not isinstance(value, Query) or value in listed, (module.__name__, name)


def test_query_strings_are_read_by_query_parameters_and_handlers_of_auth_alone():
    folder = Path(loomline.server.api.__file__).parent
    readers = {
        file.name for file in folder.glob("*.py") if "query_params" in file.read_text("utf-8")
    }
    assert readers == {"queries.py", "authentication.py"}


def test_every_kind_of_query_parameter_has_a_wrong_value_or_is_free(parts):
    assert {type(query) for query in query_parameters(parts.resources)} == WRONG.keys() | FREE


async def test_every_listed_query_parameter_is_read_by_its_handler(parts, http):
    for entry in table(parts.resources):
        path = re.sub(r"{\w+}", THREAD, entry.path)
        required = {query.name: "x" for query in entry.query if query.required}
        for query in entry.query:
            if type(query) in FREE:
                continue
            value = WRONG[type(query)]
            with pytest.raises(InvalidInput) as refused:
                query.read(request(query, value))
            body = {} if entry.body else None
            answer = await http.request(
                entry.method, path, params={**required, query.name: value}, json=body
            )
            assert (answer.status_code, answer.json()) == (422, {"detail": str(refused.value)})


def test_the_documented_default_is_the_value_of_a_request_without_the_parameter(parts):
    for query in query_parameters(parts.resources):
        default = query.schema.get("default")
        value = query.read(request(query))
        if default == "false":  # a string that is compared with "true"
            assert value is False
        elif default is None:
            assert value in (None, [])
        else:
            assert value == default


def test_the_documented_maximum_is_the_largest_value_that_is_read(parts):
    integers = [each for each in query_parameters(parts.resources) if type(each) is IntegerQuery]
    assert integers
    for query in integers:
        most = query.schema["maximum"]
        assert query.read(request(query, str(most))) == most
        with pytest.raises(InvalidInput):
            query.read(request(query, str(most + 1)))


def test_every_documented_word_is_read(parts):
    for query in query_parameters(parts.resources):
        if isinstance(query, ChoiceQuery):
            for word in query.schema["enum"]:
                assert query.read(request(query, word)) == word
        if isinstance(query, WordsQuery):
            words = query.schema["items"]["enum"]
            assert query.read(request(query, *words)) == words


@pytest.mark.parametrize(
    ("query", "value", "sentence"),
    [
        (
            IntegerQuery("limit", default=1, most=5, help=""),
            "6",
            "Invalid limit '6': must be an integer from 0 to 5",
        ),
        (
            IntegerQuery("limit", default=1, most=5, help=""),
            "²",
            "Invalid limit '²': must be an integer from 0 to 5",
        ),
        (
            FlagQuery("wait", help=""),
            "x" * 300,
            f"Invalid wait '{'x' * 200}': must be true or false",
        ),
        (
            LevelsQuery("xray", help=""),
            "9" * 60,
            f"Invalid xray value '{'9' * 50}': must be true, false or a number of levels from 1",
        ),
        (
            ChoiceQuery("action", words=("interrupt", "rollback"), default=None, help=""),
            "stop",
            "Invalid action 'stop'. Expected one of: interrupt, rollback",
        ),
        (UuidQuery("before", kind="checkpoint", help=""), "x", "Invalid checkpoint ID"),
        (UuidQuery("before", kind="checkpoint", help=""), "", "Invalid checkpoint ID"),
        (ListQuery("select", help=""), "[1]", "Invalid select: must be a list of strings"),
        (ListQuery("select", help=""), "[", "Invalid JSON in request body"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(query, value, sentence):
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        query.read(request(query, value))


@pytest.mark.parametrize(
    ("query", "values", "result"),
    [
        (FlagQuery("wait", help=""), [""], False),
        (FlagQuery("wait", help=""), ["TRUE"], True),
        (OptionalFlagQuery("refresh_ttl", help=""), [""], None),
        (OptionalFlagQuery("refresh_ttl", help=""), ["0"], False),
        (ConsentQuery("recurse", help=""), ["True"], True),
        (ConsentQuery("recurse", help=""), ["1"], False),
        (LevelsQuery("xray", help=""), ["True"], True),
        (LevelsQuery("xray", help=""), ["5000"], 1000),
        (StringQuery("key", help=""), ["a\0b"], "a\ufffdb"),
        (UuidQuery("before", kind="checkpoint", blank=True, help=""), [""], None),
        (RepeatedQuery("namespace", help=""), ["", "a"], ["", "a"]),
        (ListQuery("select", help=""), ["", "a,b"], ["a,b"]),
        (ListQuery("select", help=""), ['["a", "b"]'], ["a", "b"]),
        (ListQuery("include", commas=True, help=""), ["a,b", "c"], ["a", "b", "c"]),
    ],
)
def test_a_value_is_read_as_its_kind(query, values, result):
    assert query.read(request(query, *values)) == result


@pytest.mark.parametrize(
    "query",
    [
        IntegerQuery("n", default=1, help="."),
        FlagQuery("n", help="."),
        OptionalFlagQuery("n", help="."),
        ConsentQuery("n", help="."),
        LevelsQuery("n", help="."),
        StringQuery("n", help="."),
        ChoiceQuery("n", words=("1", "0"), default="1", help="."),
        UuidQuery("n", kind="run", blank=True, help="."),
    ],
    ids=lambda query: type(query).__name__,
)
def test_a_second_value_of_a_parameter_with_one_value_is_refused(query):
    with pytest.raises(InvalidInput, match="it takes one value, and has 2"):
        query.read(request(query, "", "1"))
