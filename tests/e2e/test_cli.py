"""The command line as a user has it: processes, signals, files that change."""

import contextlib
import hashlib
import ipaddress
import json
import os
import queue
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from loomline import __version__

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart"
PATIENCE = 150.0
GRAPH = """
from typing_extensions import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    said: str

graph = StateGraph(State).add_node("say", lambda _: {"said": "WORD"}).add_edge(START, "say")
"""


class Process:
    """A started command whose lines can be waited for."""

    def __init__(self, command, folder):
        self.lines = []
        self._queue = queue.Queue()
        self.popen = subprocess.Popen(
            command,
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def line(self, part):
        """Wait for a line with this text."""
        while True:
            line = self._queue.get(timeout=PATIENCE)
            assert line is not None, f"no line with {part!r} in {self.lines}"
            self.lines.append(line)
            if part in line:
                return line

    def url(self):
        return self.line("Loomline serves").rpartition(" ")[2]

    def end(self):
        """Wait for the end; return the exit code and everything that was printed."""
        while (line := self._queue.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        return self.popen.wait(PATIENCE), "\n".join(self.lines)

    def stop(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.popen.stdout.close()


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(*arguments, folder=tmp_path):
            process = Process(
                [sys.executable, "-P", "-m", "loomline.server.cli", *arguments], folder
            )
            stack.callback(process.stop)
            return process

        yield start


@pytest.fixture
def project(tmp_path):
    """A folder with a graph that says "first"."""
    write(tmp_path, "first")
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "agent.py:graph"}}))
    return tmp_path


def write(folder, word):
    # In one act, so that no half-written file is ever loaded.
    (folder / "agent.new").write_text(GRAPH.replace("WORD", word))
    (folder / "agent.new").replace(folder / "agent.py")


def said(url):
    answer = httpx.post(
        f"{url}/runs/wait", json={"assistant_id": "agent", "input": {"said": ""}}, timeout=PATIENCE
    )
    return answer.json()["said"]


def children(number):
    return [int(n) for n in Path(f"/proc/{number}/task/{number}/children").read_text().split()]


def test_version_option_prints_the_version(start):
    assert start("--version").end() == (0, f"loomline {__version__}")


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_the_help_names_options_defaults_and_variables(start, command):
    code, text = start(command, "--help").end()
    assert code == 0
    for part in (
        "--config",
        "--port",
        "default 2024",
        "LOOMLINE_PORT",
        "N_JOBS_PER_WORKER",
        "example",
    ):
        assert part in text
    assert "--fd" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: loomline"),
        (["fly"], "invalid choice: 'fly'"),
        (["serve", "--nope"], "unrecognized arguments"),
        (["serve", "--port", "x"], "loomline: --port is 'x': it must be a whole number"),
        (["dev", "--config", "nope.json"], "loomline: There is no file"),
    ],
)
def test_wrong_use_exits_with_2(start, arguments, said):
    code, text = start(*arguments).end()
    assert (code, said in text, "Traceback" in text) == (2, True, False)


@pytest.mark.parametrize("command", [["serve"], ["dev"], ["dev", "--no-reload"]])
def test_a_graph_that_does_not_load_exits_with_1(start, project, command):
    (project / "agent.py").write_text("import json\n\nraise ValueError('no key')\n")
    code, text = start(*command, "--port", "0").end()
    assert code == 1
    assert "loomline: Failed to load graph 'agent' from agent.py:graph: " in text
    assert "raised ValueError: no key" in text
    assert "agent.py, line 3" in text
    assert "Traceback" not in text


OPEN = "THIS SERVER IS OPEN TO EVERYBODY"
KEYS = {
    "graphs": {"agent": "./agent.py:graph"},
    "auth": {"api_keys": {"env": "KEYS"}},
    "env": {"KEYS": "[]"},
}


@pytest.mark.parametrize(
    ("host", "config", "warned"),
    [("0.0.0.0", None, True), ("127.0.0.1", None, False), ("0.0.0.0", KEYS, False)],
)
def test_an_open_server_says_so(start, project, host, config, warned):
    if config is not None:
        (project / "langgraph.json").write_text(json.dumps(config))
    process = start("serve", "--host", host, "--port", "0")
    process.line("Loomline serves")
    assert any(OPEN in line for line in process.lines) is warned


def test_auth_that_does_not_load_exits_with_1(start, project):
    config = {"graphs": KEYS["graphs"], "auth": {"api_keys": {"file": "nowhere.json"}}}
    (project / "langgraph.json").write_text(json.dumps(config))
    code, text = start("serve", "--port", "0").end()
    assert (code, "Traceback" in text) == (1, False)
    assert "loomline: Failed to load 'auth' from" in text


def test_key_command_prints_a_key_and_its_entry(start):
    code, text = start("key", "ada").end()
    key = next(line.strip() for line in text.splitlines() if "loomline_" in line)
    entry = json.loads(next(line for line in text.splitlines() if "sha256" in line))
    assert (code, entry["identity"]) == (0, "ada")
    assert entry["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert start("key", "*").end()[0] == 2


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_port_in_use_exits_with_1(start, project, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, text = start(command, "--port", port).end()
    assert (code, "Traceback" in text) == (1, False)
    assert f"port {port}: the port is in use" in text
    assert "--port" in text


def test_an_address_that_is_not_there_exits_with_1(start, project):
    code, text = start("serve", "--host", "192.0.2.1", "--port", "0").end()
    assert (code, "Check --host" in text, "Traceback" in text) == (1, True, False)


def test_a_data_folder_in_use_exits_with_1(start, project):
    start("serve", "--port", "0").url()
    code, text = start("serve", "--port", "0").end()
    assert (code, "Traceback" in text) == (1, False)
    assert ".loomline" in text


def test_a_data_folder_that_cannot_be_made_exits_with_1(start, project):
    (project / "file").touch()
    code, text = start("serve", "--port", "0", "--data-dir", "file/data").end()
    assert (code, "Traceback" in text) == (1, False)
    assert "file/data" in text


@pytest.mark.parametrize("command", [["serve"], ["dev"], ["dev", "--no-reload"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_stops_when_told(start, project, command, number):
    process = start(*command, "--port", "0")
    url = process.url()
    assert url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{url}/ok").json()["ok"] is True
    assert said(url) == "first"
    process.popen.send_signal(number)
    code, text = process.end()
    assert (code, "Traceback" in text) == (0, False), text


@pytest.mark.parametrize("command", ["serve", "dev"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_as_cleanly_while_a_graph_is_still_being_imported(start, project, command, number):
    (project / "agent.py").write_text("import time\nprint('importing')\ntime.sleep(60)\n")
    process = start(command, "--port", "0")
    process.line("importing")
    process.popen.send_signal(number)
    code, text = process.end()
    assert (code, "Traceback" in text) == (0, False), text


def test_server_in_the_background_of_a_shell_stops_at_sigint_while_a_graph_is_imported(
    start, project
):
    (project / "agent.py").write_text("import time\nprint('importing')\ntime.sleep(60)\n")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process inherits that
    try:
        process = start("serve", "--port", "0")
    finally:
        signal.signal(signal.SIGINT, before)
    process.line("importing")
    process.popen.send_signal(signal.SIGINT)
    code, text = process.end()
    assert (code, "Traceback" in text) == (0, False), text


@pytest.mark.parametrize("begun", [True, False])
def test_a_key_press_that_reaches_supervisor_and_server_stops_both(start, project, begun):
    if not begun:
        (project / "agent.py").write_text("import time\nprint('importing')\ntime.sleep(60)\n")
    process = start("dev", "--port", "0")
    process.line("Loomline serves" if begun else "importing")
    os.killpg(process.popen.pid, signal.SIGINT)
    code, text = process.end()
    assert (code, "Traceback" in text) == (0, False), text


def test_quickstart_example_answers_a_streamed_run(start, tmp_path):
    folder = shutil.copytree(EXAMPLE, tmp_path / "example")
    url = start("serve", "--port", "0", folder=folder).url()
    body = {"assistant_id": "joke", "input": {"topic": "ice cream"}, "stream_mode": "updates"}
    text = httpx.post(f"{url}/runs/stream", json=body, timeout=PATIENCE).text
    told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    _, *updates, end = told
    assert end["status"] == "success"
    assert updates == [
        {"refine_topic": {"topic": "ice cream and cats"}},
        {"generate_joke": {"joke": "This is a joke about ice cream and cats"}},
    ]
    for graph, given in {
        "parent": {"name": "ada"},
        "chat": {"messages": "hello"},
        "progress": {"steps": 2},
    }.items():
        body = {"assistant_id": graph, "input": given}
        answer = httpx.post(f"{url}/runs/wait", json=body, timeout=PATIENCE)
        assert "__error__" not in answer.json()


def test_variables_of_the_file_reach_the_graph_and_the_real_ones_win(start, project):
    write(project, "")
    source = (project / "agent.py").read_text()
    source = source.replace('""', "f\"{os.environ['OURS_OF_TEST']} {os.environ['HOME']}\"")
    (project / "agent.py").write_text(f"import os\n{source}")
    document = json.loads((project / "langgraph.json").read_text())
    document["env"] = {"OURS_OF_TEST": "from the file", "HOME": "not this"}
    (project / "langgraph.json").write_text(json.dumps(document))
    assert said(start("serve", "--port", "0").url()) == f"from the file {os.environ['HOME']}"


def test_a_missing_file_of_variables_is_logged_once(start, project):
    document = json.loads((project / "langgraph.json").read_text())
    (project / "langgraph.json").write_text(json.dumps(document | {"env": "./none.env"}))
    process = start("dev", "--port", "0", "--log-json", "true")
    process.url()
    logged = [json.loads(line) for line in process.lines if "none.env" in line]
    assert [(each["level"], each["logger"]) for each in logged] == [("warning", "loomline.cli")]


def test_a_change_starts_the_server_anew_on_the_same_port(start, project):
    process = start("dev", "--port", "0")
    url = process.url()
    assert said(url) == "first"
    write(project, "second")
    process.line("agent.py changed")
    assert process.url() == url
    assert said(url) == "second"


def test_a_change_that_breaks_the_graph_waits_for_the_next_one(start, project):
    process = start("dev", "--port", "0")
    url = process.url()
    (project / "agent.py").write_text("graph = (\n")
    process.line("syntax error")
    process.line("waiting for a change")
    answer = httpx.get(f"{url}/ok", timeout=PATIENCE)
    assert (answer.status_code, "syntax error" in answer.json()["detail"]) == (503, True)
    write(project, "mended")
    assert process.url() == url
    assert said(url) == "mended"


def test_threads_survive_a_change(start, project):
    process = start("dev", "--port", "0")
    url = process.url()
    thread = httpx.post(f"{url}/threads", json={}).json()["thread_id"]
    httpx.post(
        f"{url}/threads/{thread}/runs/wait", json={"assistant_id": "agent", "input": {"said": ""}}
    )
    write(project, "second")
    process.line("changed")
    process.url()
    assert httpx.get(f"{url}/threads/{thread}").json()["values"] == {"said": "first"}


def test_changes_of_other_files_are_nobodys_business(start, project):
    for folder in (".venv", "node_modules", "__pycache__", ".git", ".loomline"):
        (project / folder).mkdir(exist_ok=True)
    process = start("dev", "--port", "0")
    url = process.url()
    for folder in (".venv", "node_modules", "__pycache__", ".git", ".loomline"):
        (project / folder / "x.py").write_text("1")
    (project / "notes.txt").write_text("1")
    said(url)
    # What comes after them is seen, and they are not.
    (project / ".env").write_text("A=1")
    assert process.line("changed").startswith("loomline: .env changed")


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_the_server_does_not_outlive_a_killed_supervisor(start, project):
    process = start("dev", "--port", "0")
    process.url()
    (server,) = children(process.popen.pid)
    watch = os.pidfd_open(server)
    process.popen.kill()
    assert process.end()[0] == -signal.SIGKILL
    # A process that has ended makes its descriptor readable.
    assert select.select([watch], [], [], 10.0)[0]
    os.close(watch)


def test_reload_during_an_open_stream_logs_no_traceback(start, project):
    process = start("dev", "--port", "0")
    url = process.url()
    thread = httpx.post(f"{url}/threads", json={}, timeout=PATIENCE).json()["thread_id"]
    with httpx.stream("GET", f"{url}/threads/{thread}/stream", timeout=PATIENCE) as stream:
        assert stream.status_code == 200
        write(project, "second")
        process.line("agent.py changed")
        process.url()
    assert said(url) == "second"
    process.popen.send_signal(signal.SIGTERM)
    code, text = process.end()
    assert (code, "Traceback" in text, "ERROR" in text) == (0, False, False), text


@pytest.fixture
def certificate(tmp_path):
    """Return the paths of a self-signed certificate for 127.0.0.1 and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return paths


def test_certificate_makes_the_server_speak_https(start, project, certificate):
    files = ["--ssl-certfile", str(certificate[0]), "--ssl-keyfile", str(certificate[1])]
    url = start("serve", "--port", "0", *files).url()
    assert url.startswith("https://")
    context = ssl.create_default_context(cafile=certificate[0])
    assert httpx.get(f"{url}/ok", verify=context, timeout=PATIENCE).json()["ok"] is True


def test_certificate_that_cannot_be_used_exits_with_1(start, project):
    files = ["--ssl-certfile", "none.pem", "--ssl-keyfile", "none.pem"]
    code, text = start("serve", "--port", "0", *files).end()
    assert (code, "Traceback" in text, "Check --ssl-certfile" in text) == (1, False, True)
