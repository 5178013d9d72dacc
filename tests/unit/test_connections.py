"""The bound on connections, and the log lines about closed ones."""

import asyncio
import logging

import pytest

from loomline.server.api.connections import Connections, affordable_connections


class Client:
    def __init__(self):
        self.dismissed = False

    def dismiss(self):
        self.dismissed = True


async def test_the_connection_that_waits_longest_makes_room_for_a_new_one():
    counted = Connections(3)
    first, second, third, fourth, fifth = (Client() for _ in range(5))
    assert all(counted.enter(client) for client in (first, second, third))
    counted.work(first)
    assert counted.enter(fourth)
    counted.work(first)
    counted.wait(first)  # behind the others
    assert counted.enter(fifth)
    gone = [client.dismissed for client in (first, second, third, fourth, fifth)]
    assert gone == [False, True, True, False, False]
    for client in (second, third):
        counted.leave(client)
    assert counted.open == 3
    assert counted.closed["evicted"] == 2


async def test_a_new_connection_is_refused_where_all_have_requests_in_progress():
    counted = Connections(2)
    counted.opened()  # a WebSocket
    busy, late = Client(), Client()
    assert counted.enter(busy)
    counted.work(busy)
    assert not counted.enter(late)
    counted.leave(late)
    counted.ended()
    assert counted.enter(late)
    assert counted.closed["refused"] == 1


async def test_a_flood_of_closed_connections_has_one_log_line_per_interval(caplog):
    counted = Connections(10, log_seconds=0.05)
    with caplog.at_level(logging.WARNING, "loomline.api"):
        for _ in range(1000):
            counted.note("timed_out")
        counted.note("refused")
        assert [record.count for record in caplog.records] == [1, 1]
        async with asyncio.timeout(10):
            while len(caplog.records) < 3:
                await asyncio.sleep(0.01)
    assert caplog.records[2].count == 999


@pytest.mark.parametrize(
    ("limit", "most"),
    [(64, 1), (256, 192), (1024, 768), (20_000, 15_904), (1_000_000, 20_000), (None, 20_000)],
)
def test_connections_leave_a_reserve_of_open_files(limit, most):
    assert affordable_connections(limit) == most
