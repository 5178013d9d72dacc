"""The npm packages against our server: each scenario in scenarios/ is a test of its own."""

import pytest
from tests.js.node import scenarios

pytestmark = pytest.mark.timeout(400)  # the first one starts servers

# Scenarios that need the newest packages.
NEWEST = {"newest.mjs"}

# Every scenario runs with the older packages and with the newest ones. The newest packages meet
# SQLite; the older ones meet the server with the most parts that the scenario can tell apart, so
# that each server and each set of packages is used without the product of the two.
# Events go through Redis where another process executes.
FOLLOWED = {"threads_client.mjs", "threads_react.mjs"}
# The storage takes part.
STORED = {"assistants.mjs", "crons.mjs", "rejoin.mjs", "runs.mjs", "store.mjs", "threads.mjs"}

EVERY = scenarios()
ELSEWHERE = NEWEST | FOLLOWED | STORED


def of(*files):
    """Mark a test with the scenarios of these files."""
    chosen = [each for each in EVERY if each[0] in files]
    return pytest.mark.parametrize(("file", "name"), chosen, ids=[name for _, name in chosen])


@of(*{file for file, _ in EVERY} - ELSEWHERE)
def test_scenario_passes_with_older_packages_on_sqlite(node, sqlite, file, name):
    check_scenario_passes(node, sqlite, file, name)


@of(*STORED)
def test_scenario_passes_with_older_packages_on_postgres(node, postgres, file, name):
    check_scenario_passes(node, postgres, file, name)


@of(*FOLLOWED)
def test_scenario_passes_with_older_packages_beside_a_worker(node, apart, file, name):
    check_scenario_passes(node, apart, file, name)


@of(*{file for file, _ in EVERY})
def test_scenario_passes_with_the_newest_packages_on_sqlite(newest, sqlite, file, name):
    check_scenario_passes(newest, sqlite, file, name)


def check_scenario_passes(node, url, file, name):
    if error := node.run(file, name, url):
        pytest.fail(error, pytrace=False)
