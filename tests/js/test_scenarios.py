"""The npm packages against our server: each scenario in scenarios/ is a test of its own."""

import pytest
from tests.js.node import scenarios

pytestmark = pytest.mark.timeout(400)  # the first one starts servers

# What storage has a part in.
STORED = {"assistants.mjs", "crons.mjs", "rejoin.mjs", "runs.mjs", "store.mjs", "threads.mjs"}

# What goes through Redis where another process executes.
FOLLOWED = {"threads_client.mjs", "threads_react.mjs"}

# Scenarios that need the newest packages.
NEWEST = {"newest.mjs"}

EVERY = scenarios()
ALL = [each for each in EVERY if each[0] not in NEWEST]


@pytest.mark.parametrize(("file", "name"), ALL, ids=[name for _, name in ALL])
def test_scenario_of_an_npm_package_passes_on_sqlite(node, sqlite, file, name):
    check_scenario_passes(node, sqlite, file, name)


@pytest.mark.parametrize(("file", "name"), EVERY, ids=[name for _, name in EVERY])
def test_newest_packages_on_sqlite(newest, sqlite, file, name):
    check_scenario_passes(newest, sqlite, file, name)


@pytest.mark.parametrize(
    ("file", "name"),
    [each for each in ALL if each[0] in STORED],
    ids=[name for file, name in ALL if file in STORED],
)
def test_scenario_of_an_npm_package_passes_on_postgres(node, postgres, file, name):
    check_scenario_passes(node, postgres, file, name)


@pytest.mark.parametrize(
    ("file", "name"),
    [each for each in ALL if each[0] in FOLLOWED],
    ids=[name for file, name in ALL if file in FOLLOWED],
)
def test_scenario_of_an_npm_package_passes_beside_a_worker(node, apart, file, name):
    check_scenario_passes(node, apart, file, name)


def check_scenario_passes(node, url, file, name):
    if error := node.run(file, name, url):
        pytest.fail(error, pytrace=False)
