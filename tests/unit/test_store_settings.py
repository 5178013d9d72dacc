"""The section ``store`` of langgraph.json, and the embeddings it names."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.embeddings import Embeddings

from loomline.server.domain.errors import EmbeddingsLoadError
from loomline.server.graphs.embeddings import load_embeddings
from loomline.server.graphs.spec import GraphSpec, IndexSpec
from loomline.server.settings import SettingsError, StoreSettings, load_settings

GRAPHS = {"agent": "./agent.py:graph"}


@pytest.fixture
def load(tmp_path):
    def load(section):
        path = tmp_path / "langgraph.json"
        path.write_text(json.dumps({"graphs": GRAPHS, "store": section}))
        return load_settings({"config": str(path)}, {}, dev=False).store

    return load


def test_empty_store_section_gives_the_defaults(load):
    assert load(None) == load({}) == load({"ttl": None, "index": {}}) == StoreSettings()


def test_store_section_is_read_completely(load, tmp_path):
    section = {
        "index": {"dims": 4, "embed": "./e.py:embed", "fields": ["a", "b[*].c"]},
        "ttl": {"default_ttl": 90, "refresh_on_read": False, "sweep_interval_minutes": 0.5},
    }
    embed = GraphSpec("store.index.embed", "./e.py:embed", "embed", tmp_path / "e.py")
    assert load(section) == StoreSettings(IndexSpec(4, embed, ("a", "b[*].c")), 90.0, False, 0.5)


def test_a_model_of_a_provider(load):
    assert load(
        {"index": {"dims": 4, "embed": "openai:text-embedding-3-small"}}
    ).index == IndexSpec(4, "openai:text-embedding-3-small", ("$",))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ([], '"store" in'),
        ({"ttl": 5}, '"store.ttl" in'),
        ({"ttl": {"default_ttl": 0}}, '"store.ttl.default_ttl" in'),
        ({"ttl": {"default_ttl": True}}, '"store.ttl.default_ttl" in'),
        ({"ttl": {"sweep_interval_minutes": "5"}}, '"store.ttl.sweep_interval_minutes" in'),
        ({"ttl": {"refresh_on_read": "yes"}}, '"store.ttl.refresh_on_read" in'),
        ({"index": "x"}, '"store.index" in'),
        ({"index": {"embed": "a:b"}}, '"store.index.dims" in'),
        ({"index": {"dims": 0, "embed": "a:b"}}, '"store.index.dims" in'),
        ({"index": {"dims": 3}}, '"store.index.embed" in'),
        ({"index": {"dims": 3, "embed": "nothing"}}, "file.py:function"),
        ({"index": {"dims": 3, "embed": "a:b", "fields": "text"}}, '"store.index.fields" in'),
    ],
)
def test_sections_that_do_not_fit(load, section, said):
    with pytest.raises(SettingsError) as caught:
        load(section)
    assert said in str(caught.value)
    assert "langgraph.json'" in str(caught.value)


CODE = """
from langchain_core.embeddings import Embeddings

def plain(texts):
    return [[float(len(text))] for text in texts]

async def later(texts):
    return plain(texts)

class Own(Embeddings):
    def embed_documents(self, texts):
        return plain(texts)
    def embed_query(self, text):
        return plain([text])[0]

own = Own()
number = 5
"""


def wait_for(work):
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture
def embeddings(tmp_path):
    def embeddings(name, code=CODE):
        path = tmp_path / f"embed_{tmp_path.name}.py"
        path.write_text(code)
        spec = GraphSpec("store.index.embed", f"./{path.name}:{name}", name, path)
        return load_embeddings(IndexSpec(1, spec), wait_for)

    return embeddings


@pytest.mark.parametrize("name", ["plain", "later", "own"])
async def test_functions_work_in_both_colours(embeddings, name):
    made = embeddings(name)
    assert isinstance(made, Embeddings)
    assert await made.aembed_documents(["a", "bb"]) == made.embed_documents(["a", "bb"])
    assert await made.aembed_query("bb") == made.embed_query("bb") == [2.0]
    assert await asyncio.to_thread(made.embed_query, "bb") == [2.0]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("number", CODE, "is of type 'int'. It must be a function"),
        ("nothing", CODE, "the file has no 'nothing'"),
        ("plain", "raise LookupError('no key')", "importing it raised LookupError: no key"),
    ],
)
def test_unusable_embedding_is_refused_with_its_reason(embeddings, name, code, said):
    with pytest.raises(EmbeddingsLoadError) as caught:
        embeddings(name, code)
    assert str(caught.value).startswith("Failed to load 'store.index.embed' from ./embed_")
    assert said in str(caught.value)


def test_a_provider_that_is_not_installed():
    with pytest.raises(EmbeddingsLoadError, match="'nobody:nothing'"):
        load_embeddings(IndexSpec(1, "nobody:nothing"), wait_for)
