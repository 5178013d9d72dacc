import asyncio
import pickle
import sys
import textwrap

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.store.memory import InMemoryStore

from loomline.server.domain.errors import GraphLoadError, GraphNotFound
from loomline.server.graphs.loader import extend_path, load_object
from loomline.server.graphs.registry import Graphs
from loomline.server.graphs.spec import GraphSpec

BASE = """
import asyncio, contextlib
from typing_extensions import TypedDict
from langgraph.graph import START, StateGraph
from langgraph.func import entrypoint
from langchain_core.runnables import RunnableConfig

class State(TypedDict, total=False):
    x: int
    seen: str

log = []

def build(seen="-"):
    return StateGraph(State).add_node("n", lambda s: {"seen": seen}).add_edge(START, "n")

def who(config):
    return config["configurable"]["who"]
"""

OPENED = """
    log.append('in')
    try:
        yield build()
    finally:
        log.append('out')
"""
RETURNED = """
    return build(who(config))
"""
FORMS = {
    "compiled": ("graph = build().compile()", "-"),
    "builder": ("graph = build()", "-"),
    "entrypoint": ("@entrypoint()\ndef graph(given):\n    return {**given, 'seen': '-'}", "-"),
    "function": ("def graph():\n    return build().compile()", "-"),
    "function that returns a builder": ("def graph():\n    return build()", "-"),
    "lambda": ("graph = lambda: build()", "-"),
    "class": ("class graph:\n    def __new__(cls):\n        return build()", "-"),
    "of config": ("def graph(config: RunnableConfig):" + RETURNED, "me"),
    "of a positional config": ("def graph(config, /):" + RETURNED, "me"),
    "of a keyword": ("def graph(*, config):" + RETURNED, "me"),
    "of an optional config": ("def graph(config: dict | None = None):" + RETURNED, "me"),
    "of something without a type": ("def graph(c):\n    return build(who(c))", "me"),
    "of a type in quotes": (
        "def graph(c: 'RunnableConfig | None' = None):\n    return build(who(c))",
        "me",
    ),
    "of defaults": ("def graph(size=3, *rest, **more):\n    return build(str(size))", "3"),
    "async function": ("async def graph(config):\n    await asyncio.sleep(0)" + RETURNED, "me"),
    "context manager": ("@contextlib.contextmanager\ndef graph():" + OPENED, "-"),
    "async context manager": ("@contextlib.asynccontextmanager\nasync def graph():" + OPENED, "-"),
    "generator": ("def graph():" + OPENED, "-"),
    "async generator": ("async def graph():" + OPENED, "-"),
    "async function of a context manager": (
        "@contextlib.contextmanager\ndef i():" + OPENED + "async def graph():\n    return i()",
        "-",
    ),
}
CONFIG = {"configurable": {"thread_id": "1", "who": "me"}}


@pytest.fixture
def write(tmp_path):
    def write(source, *, name="agent.py", graph_id="agent", attribute="graph", text=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(BASE + textwrap.dedent(source) if text is None else text)
        return GraphSpec(graph_id, f"./{name}:{attribute}", attribute, path=path)

    return write


@pytest.fixture(autouse=True)
def imports():
    """Whatever a test imports is forgotten after it."""
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def module_of(spec):
    return next(m for m in sys.modules.values() if getattr(m, "__file__", "") == str(spec.path))


def reason(spec):
    with pytest.raises(GraphLoadError) as caught:
        Graphs.load([spec])
    assert str(caught.value).startswith(f"Failed to load graph 'agent' from {spec.source}: ")
    assert caught.value.graph_id == "agent"
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_a_graph_can_be_run(write, form):
    source, seen = FORMS[form]
    spec = write(source)
    graphs, saver, store = Graphs.load([spec]), InMemorySaver(), InMemoryStore()
    log = module_of(spec).log
    for round_ in range(2):
        async with graphs.open("agent", CONFIG, checkpointer=saver, store=store) as graph:
            assert isinstance(graph, Pregel)
            assert (graph.checkpointer, graph.store) == (saver, store)
            assert (await graph.ainvoke({"x": 1}, CONFIG))["seen"] == seen
            assert log == ([*["in", "out"] * round_, "in"] if log else [])
    assert log in ([], ["in", "out"] * 2)


async def test_the_original_graph_keeps_its_own_checkpointer(write):
    spec = write("graph = build().compile()")
    async with Graphs.load([spec]).open("agent", CONFIG, checkpointer=InMemorySaver()):
        assert module_of(spec).graph.checkpointer is None


async def test_simultaneous_uses_have_a_checkpointer_each(write):
    graphs = Graphs.load([write("graph = build().compile()")])
    first, second = InMemorySaver(), InMemorySaver()
    async with (
        graphs.open("agent", CONFIG, checkpointer=first) as one,
        graphs.open("agent", CONFIG, checkpointer=second) as two,
    ):
        assert (one.checkpointer, two.checkpointer) == (first, second)


async def test_resources_of_a_factory_are_closed_after_a_failure(write):
    spec = write(FORMS["async context manager"][0])
    graphs = Graphs.load([spec])
    with pytest.raises(ZeroDivisionError):
        async with graphs.open("agent", CONFIG, checkpointer=InMemorySaver()):
            raise ZeroDivisionError
    assert module_of(spec).log == ["in", "out"]


async def test_resources_of_a_factory_without_a_graph_are_closed(write):
    spec = write(
        "@contextlib.contextmanager\ndef graph():\n    try:\n        yield 5\n"
        "    finally:\n        log.append('out')"
    )
    with pytest.raises(GraphLoadError, match="returned 'int' instead of a graph"):
        async with Graphs.load([spec]).open("agent", CONFIG, checkpointer=InMemorySaver()):
            pass
    assert module_of(spec).log == ["out"]


async def test_a_factory_is_called_on_the_running_loop_with_its_context(write):
    spec = write("def graph():\n    log.append(asyncio.get_running_loop())\n    return build()")
    async with Graphs.load([spec]).open("agent", CONFIG, checkpointer=InMemorySaver()):
        assert module_of(spec).log == [asyncio.get_running_loop()]


async def test_a_factory_that_fails_fails_the_use_with_its_own_error(write):
    graphs = Graphs.load([write("def graph():\n    raise LookupError('no key')")])
    with pytest.raises(LookupError, match="no key"):
        async with graphs.open("agent", CONFIG, checkpointer=InMemorySaver()):
            pass


def test_graphs_are_listed_with_names_and_descriptions(write, tmp_path):
    write("one = build().compile()\ntwo = build().compile(name='Second')\ndef three():\n    1 / 0")
    path = tmp_path / "agent.py"
    graphs = Graphs.load(
        [GraphSpec(f"the {a}", f"agent.py:{a}", a, path=path) for a in ("one", "two", "three")]
        + [GraphSpec("last", "agent.py:one", "one", path=path, description="It is the last.")]
    )
    assert graphs.ids == ("the one", "the two", "the three", "last")
    assert [graphs.name(each) for each in graphs.ids] == ["the one", "Second", "the three", "last"]
    assert graphs.description("the one") is None
    assert graphs.description("last") == "It is the last."
    graphs.check("the three")
    with pytest.raises(GraphNotFound, match=r"'nope' not found. Expected one of: \['last', 'the"):
        graphs.check("nope")


async def test_opening_an_unknown_graph(write):
    graphs = Graphs.load([write("graph = build()")])
    with pytest.raises(GraphNotFound):
        async with graphs.open("nope", CONFIG, checkpointer=InMemorySaver()):
            pass


def test_one_file_is_executed_once_for_all_its_graphs(write, tmp_path):
    spec = write("log.append('executed')\ngraph = build()\nother = build()")
    Graphs.load([spec, GraphSpec("other", "agent.py:other", "other", path=spec.path)])
    assert module_of(spec).log == ["executed"]


def test_files_of_the_same_name_stay_apart(write):
    specs = [
        write("graph = build().compile(name='one')", name="one/agent.py", graph_id="one"),
        write("graph = build().compile(name='two')", name="two/agent.py", graph_id="two"),
    ]
    graphs = Graphs.load(specs)
    assert [graphs.name(each) for each in graphs.ids] == ["one", "two"]


def test_a_file_does_not_replace_an_installed_module(write):
    spec = write("graph = build().compile()", name="orjson.py")
    before = sys.modules["orjson"]
    Graphs.load([spec])
    assert sys.modules["orjson"] is before


def test_objects_of_a_graph_file_can_be_pickled(write):
    spec = write(
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\ngraph = build()"
    )
    Graphs.load([spec])
    point = module_of(spec).P(3)
    assert pickle.loads(pickle.dumps(point)) == point


def test_files_import_their_neighbours_and_share_them(write, tmp_path):
    write("", name="helper_of_test.py")
    spec = write("import helper_of_test\ngraph = helper_of_test.build()", name="agent_of_test.py")
    neighbour = write("graph = build()", name="helper_of_test.py", graph_id="helper")
    extend_path([tmp_path])
    Graphs.load([spec, neighbour])
    assert module_of(spec).helper_of_test is module_of(neighbour)


def test_a_module_by_its_name(write, tmp_path):
    write("graph = build().compile(name='by name')", name="package_of_test/inner.py")
    extend_path([tmp_path, tmp_path])
    assert sys.path.count(str(tmp_path)) == 1
    spec = GraphSpec("m", "package_of_test.inner:graph", "graph", module="package_of_test.inner")
    assert Graphs.load([spec]).name("m") == "by name"


def test_an_attribute_of_an_attribute(write):
    spec = write("class Holder:\n    graph = build()", attribute="Holder.graph")
    assert Graphs.load([spec]).ids == ("agent",)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("graf = build()\nhelper = 1", ["has no 'graph'", "graf", "build", "who"]),
        ("graph = 5", ["'graph' is of type 'int'", "compiled graph"]),
        ("import nothing_like_it", ["'nothing_like_it' is not installed", "agent.py, line 19"]),
        ("def inner():\n    {}['key']\ninner()", ["raised KeyError: 'key'", "agent.py, line 20"]),
        ("import json\njson.loads('[')", ["raised JSONDecodeError", "agent.py, line 20"]),
        ("graph = (", ["syntax error", "agent.py, line 19"]),
        ("raise SystemExit(3)", ["raised SystemExit: 3", "agent.py, line 19"]),
        ("def graph(model: str):\n    pass", ["parameter 'model: str'", "config: RunnableConfig"]),
        ("def graph(config, size):\n    pass", ["parameter 'size'"]),
        (
            "def graph(runtime: 'ServerRuntime', size: int):\n    pass",
            ["parameter 'size: int'", "runtime: ServerRuntime"],
        ),
        (
            "graph = StateGraph(State).add_node('n', lambda s: s)",
            ["does not compile: ", "entrypoint"],
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else value,
)
def test_unservable_graph_is_refused_with_a_sentence(write, source, said):
    spec = write(source)
    text = reason(spec)
    for part in said:
        assert part in text
    assert "Traceback" not in text


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "nope.py"
    assert f"there is no file '{path}'" in reason(
        GraphSpec("agent", "nope.py:graph", "graph", path=path)
    )


def test_file_that_is_not_there_names_the_places_it_was_looked_for_in(tmp_path):
    path = tmp_path / "nope.py"
    spec = GraphSpec("agent", "nope.py:graph", "graph", path=path, searched="'/a' and '/b'")
    assert reason(spec).endswith("Looked for it at '/a' and '/b'.")


@pytest.mark.parametrize("name", ["index.ts", "index.mjs", "index.jsx"])
def test_graph_in_javascript_is_refused_with_the_remedy(write, name):
    text = reason(write("", name=name))
    assert f"'{name}' is in JavaScript or TypeScript" in text
    assert "RemoteGraph" in text


def test_application_that_does_not_load_is_not_called_a_graph(tmp_path):
    spec = GraphSpec("http.app", "nope.py:app", "app", path=tmp_path / "x.py", kind="application")
    with pytest.raises(GraphLoadError, match=r"Failed to load application 'http\.app' from"):
        load_object(spec)


def test_a_file_that_is_no_python(write):
    assert "is no Python file" in reason(write("", name="notes.txt"))


def test_a_module_that_is_not_there():
    spec = GraphSpec("agent", "nowhere.inner:graph", "graph", module="nowhere.inner")
    assert "there is no module 'nowhere'" in reason(spec)


def test_a_file_that_failed_can_be_loaded_once_it_is_mended(write):
    reason(write("1 / 0"))
    assert Graphs.load([write("graph = build()")]).ids == ("agent",)
