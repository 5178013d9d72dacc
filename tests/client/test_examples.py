"""The examples in the docstrings of the clients, run as they stand."""

import ast
import contextlib
import doctest
import inspect
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.client import canned

import loomline.client

pytestmark = pytest.mark.one_interpreter

PARSER = doctest.DocTestParser()
CHECKER = doctest.OutputChecker()
RESOURCES = ("assistants", "threads", "runs", "crons", "store")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        kind, text = canned.answer(self.command, self.path.partition("?")[0], body)
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def public(owner):
    return [
        name for name in vars(owner) if not name.startswith("_") and callable(getattr(owner, name))
    ]


def documented(kind):
    client = kind("http://h")
    for owner in [type(client), *(type(getattr(client, name)) for name in RESOURCES)]:
        for name in public(owner):
            yield pytest.param(getattr(owner, name), id=f"{owner.__name__}.{name}")


ASYNC = list(documented(lambda url: loomline.client.get_client(url=url)))
SYNC = list(documented(lambda url: loomline.client.get_sync_client(url=url)))
LIFE_CYCLE = {"aclose", "close"}


def examples(function):
    found = PARSER.get_examples(inspect.getdoc(function) or "")
    if function.__name__ not in LIFE_CYCLE:
        assert found, "every public method has an example"
    return found


def names(url):
    identifiers = ("thread_id", "assistant_id", "run_id", "cron_id")
    functions = {"get_client": loomline.get_client, "get_sync_client": loomline.get_sync_client}
    return {"url": url, **dict.fromkeys(identifiers, canned.T), **functions}


async def run(example, scope):
    """Run an example at a prompt that knows `await`; return what it shows."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        try:
            code = compile(example.source.rstrip(), "<example>", "eval", flags)
        except SyntaxError:
            result = eval(compile(example.source, "<example>", "exec", flags), scope)
            if inspect.iscoroutine(result):
                await result
        else:
            result = eval(code, scope)
            if inspect.iscoroutine(result):
                result = await result
            if result is not None:
                print(repr(result))  # noqa: T201 - what the prompt would show
    return shown.getvalue()


async def check_examples_print_as_documented(function, scope):
    for example in examples(function):
        shown = await run(example, scope)
        assert CHECKER.check_output(example.want, shown, 0), f"{example.source}{shown}"


@pytest.mark.parametrize("function", ASYNC)
async def test_the_examples_of_the_asynchronous_client(function, url):
    async with loomline.get_client(url=url, api_key=None) as client:
        await check_examples_print_as_documented(function, {**names(url), "client": client})


@pytest.mark.parametrize("function", SYNC)
async def test_the_examples_of_the_synchronous_client(function, url):
    with loomline.get_sync_client(url=url, api_key=None) as client:
        await check_examples_print_as_documented(function, {**names(url), "client": client})


@pytest.mark.parametrize("function", [loomline.get_client, loomline.get_sync_client])
async def test_the_examples_of_the_functions(function, url):
    await check_examples_print_as_documented(function, names(url))


@pytest.mark.parametrize("function", ASYNC + SYNC)
def test_docstrings_describe_every_parameter_result_and_error(function):
    text = inspect.getdoc(function)
    for name in inspect.signature(function).parameters:
        assert name == "self" or f"    {name}: " in text, name
    if function.__name__ not in {*LIFE_CYCLE, "raw"}:
        assert "`GET /" in text or any(
            f"`{verb} /" in text for verb in ("POST", "PUT", "PATCH", "DELETE")
        )
