"""The sequence of checkpoint writes of a claim, without a database."""

import pytest
from tests.support import new_run

from loomline.server.domain.errors import LeaseLost, StorageUnavailable
from loomline.server.domain.ids import uuid7
from loomline.server.domain.runs import Claim, pending_run
from loomline.server.storage.checkpoints import Rows
from loomline.server.storage.sinks import WriteBehind, accepts
from loomline.server.storage.steps import blocked


class Queue:
    """A drain whose sinks the test takes itself."""

    def __init__(self):
        self.sinks = []

    def put(self, sink):
        self.sinks.append(sink)

    def hurry(self):
        pass


def sink_of(queue):
    return WriteBehind(Claim(pending_run(new_run(uuid7()), {}), "token", fresh=True), queue)


def rows(number):
    return Rows(blobs=[("thread", "", "channel", str(number), "json", b"")])


def test_batch_is_not_handed_over_before_the_one_before_is_written():
    sink = sink_of(Queue())
    blocked(sink.write(rows(1)))
    first = sink.take()
    blocked(sink.write(rows(2)))
    assert sink.take() is None
    sink.written(None)
    assert (first.number, sink.take().number) == (1, 2)


def test_batch_behind_a_failed_one_is_never_handed_over():
    sink = sink_of(Queue())
    blocked(sink.write(rows(1)))
    sink.take()
    blocked(sink.write(rows(2)))
    sink.written(StorageUnavailable("no room"))
    assert sink.take() is None
    with pytest.raises(StorageUnavailable, match="no room"):
        blocked(sink.write(rows(3)))
    with pytest.raises(StorageUnavailable, match="no room"):
        blocked(sink.settle())


def test_batch_that_comes_while_the_claim_ends_is_handed_over_afterwards():
    queue = Queue()
    sink = sink_of(queue)
    blocked(sink.write(rows(1)))

    def end(rest):
        blocked(sink.write(rows(2)))
        assert sink.take() is None
        return rest

    rest = sink.end_with(end, strict=True)
    assert (rest.rows.blobs, rest.written) == (rows(1).blobs, 0)
    assert queue.sinks == [sink] * 3
    late = sink.take()
    assert late.rows.blobs == rows(2).blobs
    sink.written(LeaseLost(uuid7()))
    assert late.done.done()


def test_end_after_a_failure_writes_no_rows():
    sink = sink_of(Queue())
    blocked(sink.write(rows(1)))
    sink.fail(StorageUnavailable("no room"))
    rest = sink.end_with(lambda rest: rest, strict=False)
    assert (rest.rows, rest.written) == (Rows(), None)
    with pytest.raises(StorageUnavailable, match="no room"):
        sink.end_with(lambda rest: rest, strict=True)


@pytest.mark.parametrize(
    ("stored", "number", "written"), [(0, 1, True), (4, 5, True), (5, 5, False)]
)
def test_batch_is_accepted_right_after_the_one_before_and_once(stored, number, written):
    assert accepts(stored, number) is written


@pytest.mark.parametrize(("stored", "number"), [(0, 2), (3, 5), (5, 4)])
def test_batch_behind_a_gap_is_refused(stored, number):
    with pytest.raises(StorageUnavailable):
        accepts(stored, number)
