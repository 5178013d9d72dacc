"""The official JavaScript client, on the thread protocol."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.serving import serving_here

FOLDER = Path(__file__).parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A folder with the client, installed anew."""
    if os.environ.get("WEFT_TEST_JS") == "0":
        pytest.skip("WEFT_TEST_JS=0")
    if shutil.which("npm") is None:
        pytest.skip("npm was not found")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "chat.mjs"):
        shutil.copy(FOLDER / name, folder)
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
        cwd=folder,
        check=True,
        timeout=250,
    )
    return folder


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_conversation(node, tmp_path, transport):
    with serving_here(tmp_path) as url:
        command = ["node", "--experimental-websocket", "--no-warnings", "chat.mjs", url, transport]
        done = subprocess.run(
            command, cwd=node, timeout=40, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
