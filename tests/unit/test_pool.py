"""Threads with a connection each: the bound of their queue, their connections and their end."""

import threading

import pytest

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.storage.pool import QUEUE_MOST, ConnectionThreads


class Closable:
    def __init__(self):
        self.closed = False

    def close(self):
        self.closed = True


def test_works_beyond_the_bound_are_refused_until_others_end():
    threads = ConnectionThreads(Closable, 1, "test")
    gate = threading.Event()
    waiting = [threads.submit(gate.wait) for _ in range(QUEUE_MOST)]
    with pytest.raises(StorageUnavailable, match="too many requests are waiting"):
        threads.submit(gate.wait)
    gate.set()
    for future in waiting:
        assert future.result()
    # The counter goes down after a waiter of the result has been woken.
    threads.close()
    with pytest.raises(StorageUnavailable, match="shutting down"):
        threads.submit(gate.wait)


def test_connection_of_a_thread_is_kept_until_it_is_not_usable():
    threads = ConnectionThreads(Closable, 1, "test")
    first = threads.submit(threads.connection).result()
    assert threads.submit(threads.connection).result() is first
    second = threads.submit(lambda: threads.connection(lambda _: False)).result()
    assert second is not first
    assert (first.closed, second.closed) == (True, False)
    threads.close()
    assert second.closed


def test_connections_of_foreign_threads_are_closed_with_the_others():
    threads = ConnectionThreads(Closable, 1, "test")
    own = threads.connection()
    assert threads.submit(threads.connection).result() is not own
    threads.forget(own)
    assert own.closed
    again = threads.connection()
    threads.close()
    assert again.closed
