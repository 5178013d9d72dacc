"""The list of encrypted fields against the ports, the wrappers, the rewriters and the databases."""

import dataclasses
import sqlite3
import types
from contextlib import closing
from typing import get_args, get_type_hints

import psycopg
import pytest
from tests.postgres import new_schema
from tests.support import open_postgres, open_storage

from loomline.encryption.aes import AesEncryption
from loomline.server.domain import access
from loomline.server.domain.access import Equal, Has
from loomline.server.domain.assistants import AssistantFilter
from loomline.server.domain.crons import Cron, CronFilter
from loomline.server.domain.json import Encoded, Json, JsonObject, dump, load_object
from loomline.server.domain.runs import Claim, Run
from loomline.server.domain.threads import FoundThread, ThreadFilter
from loomline.server.domain.webhooks import Delivery
from loomline.server.ports.storage import (
    AssistantStorage,
    CronStorage,
    RunStorage,
    StateEdit,
    ThreadStorage,
    WebhookStorage,
)
from loomline.server.storage.encrypted import EncryptedRuns, EncryptedThreads
from loomline.server.storage.encrypted_assistants import EncryptedAssistants
from loomline.server.storage.encrypted_crons import EncryptedCrons
from loomline.server.storage.encrypted_webhooks import EncryptedWebhooks
from loomline.server.storage.postgres.rewriting import REWRITING as POSTGRES
from loomline.server.storage.rewriting import Row, Table, rewrite
from loomline.server.storage.sealed_fields import COLUMNS, SEALED
from loomline.server.storage.sealing import Sealer
from loomline.server.storage.sqlite.rewriting import REWRITING as SQLITE
from loomline.server.storage.wrapping import PASSED

pytestmark = pytest.mark.one_interpreter

OLD, NEW = b"o" * 32, b"n" * 32

WRAPPERS = {
    EncryptedAssistants: AssistantStorage,
    EncryptedCrons: CronStorage,
    EncryptedRuns: RunStorage,
    EncryptedThreads: ThreadStorage,
    EncryptedWebhooks: WebhookStorage,
}
PORTS = (*WRAPPERS.values(), StateEdit)

PLAIN = {
    "part of a search, which is not stored": {
        (AssistantFilter, "metadata"), (CronFilter, "metadata"), (Equal, "value"),
        (Has, "members"), (ThreadFilter, "metadata"), (ThreadFilter, "values"),
    },
    "made of opened values for one answer": {(FoundThread, "extracted")},
    "the context that handlers need to open the other fields": {(Cron, "sealing"), (Run, "sealing")},
}  # fmt: skip

IDENTIFIED = {Claim, Delivery}
"""Arguments of which the inner storage reads ids and tokens only."""

PLAIN_COLUMNS = {
    "identifies a row": {
        "*.assistant_id", "*.checkpoint_id", "*.checkpoint_ns", "*.cron_id", "*.graph_id",
        "*.parent_checkpoint_id", "*.parent_id", "*.run_id", "*.task_id", "*.thread_id",
        "*.webhook_id", "crons.user_id", "run_answers.interrupt_id", "store_items.key", "store_items.namespace",
    },
    "is searched or sorted by": {
        "assistants.name", "assistants.folded_name", "assistants.folded_graph",
        "assistants.description", "assistant_versions.name", "assistant_versions.description",
    },
    "indexes metadata as it is stored, encrypted or not": {"thread_leaves.leaf"},
    "is compared with other vectors": {"store_vectors.vector"},
    "is one of a few words of the server": {
        "*.status", "crons.on_run_completed", "runs.multitask_strategy", "runs.stop_action",
        "runs.stop_reason", "threads.settled_status", "threads.ttl_strategy", "upkeep.work",
    },
    "protects a lease": {"*.token", "runs.worker"},
    "says when a cron is due": {"crons.end_time", "crons.schedule", "crons.timezone"},
    "names channels and versions, which langgraph and the saver look up": {
        "*.channel", "*.version", "*.task_path", "checkpoints.type", "runs.output",
    },
    "is needed to send a webhook; the error is that of the connection": {
        "runs.webhook", "webhooks.url", "webhooks.host", "webhooks.error",
    },
    "is a digest or chosen by the client to be compared": {
        "idempotency_keys.fingerprint", "idempotency_keys.name", "idempotency_keys.scope",
    },
    "is encrypted, but expires within a day, and an unreadable entry counts as missing": {
        "cache.key", "cache.value",
    },
}  # fmt: skip


def parts(hint):
    """Yield the types that a hint is made of; an object of JSON is one type."""
    if hint == JsonObject or not get_args(hint):
        yield hint
    for each in () if hint == JsonObject else get_args(hint):
        if isinstance(each, list):  # the parameters of a Callable
            continue
        yield from parts(each)


def is_content(hint):
    return any(each in (Encoded, JsonObject, Json) for each in parts(hint))


def hints(of):
    return get_type_hints(of, localns=vars(access) | {"Json": Json})  # aliases of forward names


def methods(port):
    return {
        name: each
        for name, each in vars(port).items()
        if isinstance(each, types.FunctionType) and not name.startswith("_")
    }


def records(hint, found=None):
    """Return the dataclasses that a hint leads to, not counting those inside sealed fields."""
    found = set() if found is None else found
    for each in parts(hint):
        if dataclasses.is_dataclass(each) and each not in found:
            found.add(each)
            for name, inner in hints(each).items():
                if name not in SEALED.get(each, {}):
                    records(inner, found)
    return found


def test_every_field_with_content_is_sealed_or_listed_as_plain():
    reached = set()
    for port in PORTS:
        for method in methods(port).values():
            for hint in hints(method).values():
                records(hint, reached)
    assert set(SEALED) <= reached
    given = {
        (one, name) for one in reached for name, hint in hints(one).items() if is_content(hint)
    }
    sealed = {(one, name) for one, fields in SEALED.items() for name in fields}
    assert given - sealed == set().union(*PLAIN.values())


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_method_that_only_passes_on_takes_and_returns_no_content(wrapper):
    port = methods(WRAPPERS[wrapper])
    passed = {name for name in port if hasattr(vars(wrapper).get(name), PASSED)}
    assert passed
    for name in passed:
        given = hints(port[name])
        assert not any(is_content(hint) for hint in given.values()), name
        returned = records(given.pop("return"))
        arguments = set().union(*map(records, given.values())) if given else set()
        if arguments & IDENTIFIED:
            arguments -= IDENTIFIED | {Run}
        assert not (returned | arguments) & set(SEALED), name


def test_a_passed_method_has_the_name_of_the_method_that_it_calls():
    async def own(self):
        return self

    for wrapper, port in WRAPPERS.items():
        for name in methods(port):
            method = vars(wrapper)[name]
            assert hasattr(method, PASSED) == (method.__qualname__ == "passed.<locals>.passing")


def plain(table, column):
    names = {f"*.{column}", f"{table}.{column}"}
    return any(names & listed for listed in PLAIN_COLUMNS.values())


def check_columns(columns, tables):
    """Compare the columns of a database that can hold content with the lists."""
    sealed = {
        (table.name.removeprefix("loomline_"), column)
        for table in tables
        for column in (*table.json, *(table.blob or ()))
    }
    assert sealed <= columns
    unlisted = {
        f"{table}.{column}" for table, column in columns - sealed if not plain(table, column)
    }
    assert not unlisted, f"Add {unlisted} to sealed_fields.COLUMNS, or here with the reason."


async def test_every_column_of_sqlite_is_sealed_or_listed_as_plain(tmp_path):
    async with open_storage(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "loomline.db")) as connection:
        found = connection.execute(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c"
            " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
            " AND c.type IN ('TEXT', 'BLOB', '')"
        ).fetchall()
    check_columns(set(found), SQLITE.tables)


async def test_every_column_of_postgres_is_sealed_or_listed_as_plain_with_its_kind_of_json():
    url = new_schema()
    async with open_postgres(url):
        pass
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = current_schema()"
            " AND data_type IN ('text', 'json', 'jsonb', 'bytea')"
        ).fetchall()
    columns = {(table.removeprefix("loomline_"), name) for table, name, _ in found}
    check_columns(columns, POSTGRES.tables)


class InMemory:
    """The rows of one table."""

    def __init__(self, table, row):
        self.tables = (table,)
        self.row = row

    async def page(self, table, after, limit):
        return [] if after else [self.row]

    async def replace(self, table, rows):
        ((_, self.row),) = rows


async def seal(field, seals, value):
    """Return a value as its wrapper stores it."""
    match field.form:
        case "text":
            return load_object(await seals.seal_text(field.model, field.name, dump(value)))
        case "config":
            return await seals.seal_config(field.model, value)
        case "payload":
            inner = {
                name: await seal(field.inside(name), seals, value[name])
                for name in ("config", "metadata")
            }
            rest = {key: each for key, each in value.items() if key not in inner}
            return {**await seals.seal(field.model, field.name, rest), **inner}
        case "notice":
            return {
                name: await seal(field.inside(name), seals, each) for name, each in value.items()
            }
        case _:
            return await seals.seal(field.model, field.name, value)


VALUES: dict[str, list[Json]] = {
    "object": [{"a": "one", "b": {"c": 2}}],
    "request": [{"input": "one"}],
    "config": [{"tags": ["t"], "configurable": {"k": "v"}}],
    "text": [{"a": "one"}, "a string", ["a", "list"], 7],
    "payload": [{"input": 1, "config": {"configurable": {"k": "v"}}, "metadata": {"m": 1}}],
    "notice": [{"metadata": {"m": 1}, "kwargs": {"input": 1}, "error": "a string"}],
}
CASES = [
    (table, column, value)
    for table, fields in COLUMNS.items()
    for column, field in fields.items()
    for value in VALUES.get(field.form, [])
]


@pytest.mark.parametrize(("name", "column", "value"), CASES)
async def test_rewriting_gives_every_value_of_a_column_the_new_key(name, column, value):
    field = COLUMNS[name][column]
    old = Sealer(AesEncryption([OLD], "*"), inline=True)
    sealed = await old.run(lambda seals: seal(field, seals, value))
    before = dump(sealed).decode()
    table = Table(name, ("id",), {column: field})
    rewriter = InMemory(table, Row((1,), [before]))
    assert await rewrite(rewriter, Sealer(AesEncryption([NEW, OLD], "*"), inline=True)) == 1
    (after,) = rewriter.row.json
    count = before.count('"loomline:sealed"')
    assert after.count('"loomline:sealed"') == count > 0
    # The new key alone opens the whole row: rewriting with it fails on any value of the old key.
    await rewrite(rewriter, Sealer(AesEncryption([NEW], "*"), inline=True))
    kept = set(texts(load_object(before))) & set(texts(load_object(after)))
    assert not kept, "These values still have the old key."


def texts(value):
    """Yield every encrypted string below a value."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "loomline:sealed":
                yield str(each)
            else:
                yield from texts(each)


def test_a_column_that_is_not_listed_fails():
    columns = {
        (table.name, name) for table in SQLITE.tables for name in (*table.json, *(table.blob or ()))
    }
    check_columns(columns, SQLITE.tables)
    with pytest.raises(AssertionError, match=r"runs\.notes"):
        check_columns(columns | {("runs", "notes")}, SQLITE.tables)
