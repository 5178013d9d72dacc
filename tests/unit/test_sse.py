import httpx
import orjson
import pytest
from hypothesis import given, settings, strategies as st

from loomline.schema import StreamPart
from loomline.sse import (
    END,
    HEARTBEAT,
    BytesLineDecoder,
    Decoder,
    SSEDecoder,
    aiter_lines_raw,
    encode_event,
    iter_lines_raw,
)


def lines(*chunks):
    decoder = BytesLineDecoder()
    return [line for chunk in chunks for line in decoder.decode(chunk)], decoder.flush()


def parts(*chunks):
    decoder = Decoder()
    return [part for chunk in chunks for part in decoder.feed(chunk)] + decoder.finish()


@pytest.mark.parametrize(
    ("chunks", "whole", "rest"),
    [
        ([b"a\nb\n"], [b"a", b"b"], []),
        ([b"a\r\nb\rc\n"], [b"a", b"b", b"c"], []),
        ([b"a\r", b"\nb"], [b"a"], [b"b"]),
        ([b"a\r", b"b\n"], [b"a", b"b"], []),
        ([b"a\r"], [b"a"], []),
        ([b"a", b"b", b"\n", b"\n"], [b"ab", b""], []),
        ([b"\r\r\n\n"], [b"", b"", b""], []),
        ([b"", b"x"], [], [b"x"]),
        ([b"a\r", b"", b"\n", b"b\n"], [b"a", b"b"], []),
        ([bytearray(b"a\n"), memoryview(b"b\n")], [b"a", b"b"], []),
    ],
)
def test_line_decoder_splits_at_every_line_ending(chunks, whole, rest):
    assert lines(*chunks) == (whole, rest)


@given(st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n"])), st.data())
def test_lines_do_not_depend_on_the_chunks(pieces, data):
    text = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    whole, rest = lines(*chunks)
    assert whole + (rest or [b""]) == expected


NAMES = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1
).filter(lambda name: name == name.strip())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


@given(
    st.lists(
        st.tuples(NAMES, JSON, st.none() | st.from_regex(r"\A[0-9]{1,9}-[0-9]{1,3}\Z")),
        max_size=6,
    ),
    st.data(),
)
def test_encoded_events_are_decoded_from_any_chunks(events, data):
    text = (
        b"".join(
            encode_event(name, orjson.dumps(value), key) + HEARTBEAT for name, value, key in events
        )
        + END
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected, last = [], None
    for name, value, key in events:
        last = key or last
        expected.append(StreamPart(name, value, last))
    decoder = Decoder()
    found = [part for chunk in chunks for part in decoder.feed(chunk)] + decoder.finish()
    assert found == expected
    assert decoder.ended
    assert decoder.last_event_id == last


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xef\xbb\xbfevent: a\ndata: 1\n\n", [("a", 1, None)]),
        (b"event:a\ndata:1\n\n", [("a", 1, None)]),
        (b"data: [1,\ndata: 2]\n\n", [("", [1, 2], None)]),
        (b"data\n\n", [("", None, None)]),
        (b"data: null\n\n", [("", None, None)]),
        (b"data:   \n\n", [("", None, None)]),
        (b"event: a\n\n", [("a", None, None)]),
        (b"id: 1\n\n", []),
        (b"id: 1\n\ndata: 2\n\n", [("", 2, "1")]),
        (b"id: 1\ndata: 1\n\nid\ndata: 2\n\n", [("", 1, "1"), ("", 2, "")]),
        (b"id: a\0b\ndata: 1\n\n", [("", 1, None)]),
        (b"retry: 10\n\nretry: x\n\n", []),
        (b": comment\n\n", []),
        (b"other: x\ndata: 1\n\n", [("", 1, None)]),
        (b"event: a\rdata: 1\r\r", [("a", 1, None)]),
        (b"data: 1", [("", 1, None)]),
        (b"event: \xff\ndata: 1\n\n", [("\ufffd", 1, None)]),
        (b'data: "\xff"\n\n', [("", "\ufffd", None)]),
    ],
)
def test_event_stream_is_decoded_as_specified(text, expected):
    assert parts(text) == expected
    assert parts(*[text[index : index + 1] for index in range(len(text))]) == expected


def test_data_that_is_not_json():
    with pytest.raises(orjson.JSONDecodeError):
        parts(b"data: {\n\n")


def test_the_line_decoder_of_the_interface():
    decoder = SSEDecoder(last_event_id="0")
    assert decoder.decode(b"") is None
    assert decoder.decode(b"event: a") is None
    assert not decoder.has_data
    assert decoder.decode(b"data: 1") is None
    assert decoder.has_data
    assert decoder.decode(b"") == ("a", 1, "0")
    assert decoder.decode(b"") is None
    decoder.decode(b"id: 5")
    assert decoder.decode(b"") == ("", None, "5")
    assert decoder.last_event_id == "5"


async def test_the_lines_of_a_response():
    assert list(iter_lines_raw(httpx.Response(200, content=b"a\r\nb"))) == [b"a", b"b"]
    assert [line async for line in aiter_lines_raw(httpx.Response(200, content=b"a\nb"))] == [
        b"a",
        b"b",
    ]


def test_an_end_is_only_an_end_as_a_line_of_its_own():
    decoder = Decoder()
    decoder.feed(b'data: 1\n\n: ending\n\ndata: ": end"\n\n')
    assert not decoder.ended


LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(
    st.lists(st.sampled_from([1, 30, 5000, 70_000]), min_size=1, max_size=6), LINE_ENDS, st.data()
)
@settings(max_examples=150, deadline=None)
def test_long_and_short_events_are_decoded_however_they_are_cut(sizes, ending, data):
    lines = []
    for number, size in enumerate(sizes):
        fields = [f"id: {number}", "event: values", f'data: {{"n":{number},"x":"{"x" * size}"}}']
        order = data.draw(st.permutations(fields))
        extra = data.draw(st.sampled_from([[], [": heartbeat"], ["retry: 5"], ["other"]]))
        lines += [*order, *extra, ""]
    text = "".join(line + ending for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found = parts(*chunks)
    assert [(part.event, part.id) for part in found] == [
        ("values", str(number)) for number in range(len(sizes))
    ]
    assert [(part.data["n"], len(part.data["x"])) for part in found] == list(enumerate(sizes))
    whole, rest = BytesLineDecoder(), []
    for chunk in chunks:
        rest += whole.decode(chunk)
    assert rest + whole.flush() == [line.encode() for line in lines]


@pytest.mark.parametrize("filler", [b"", b"x" * 10_000])
def test_line_ends_may_be_mixed(filler):
    text = b"event: a\rdata: 1\r\n\revent: b\r\ndata: %b2\ndata:\r\r\n\ndata: 3\n\r\n" % (
        b" " * len(filler)
    )
    expected = [("a", 1, None), ("b", 2, None), ("", 3, None)]
    assert parts(text) == expected
    for cut in range(0, len(text), max(1, len(text) // 80)):
        assert parts(text[:cut], text[cut:]) == expected


def test_more_names_than_are_kept():
    text = b"".join(b"event: %d\ndata: 1\n\n" % number for number in range(1000))
    assert [part.event for part in parts(text)] == [str(number) for number in range(1000)]


def test_decoder_memory_does_not_grow_with_delivered_events():
    decoder = Decoder()
    for number in range(2000):
        for _ in decoder.feed(b"event: e%d\ndata: 1\n\nid: 5" % number):
            pass
        for _ in decoder.feed(b"\n\n"):
            pass
    assert len(decoder._names) <= 256
    assert decoder._lines.buffer == []
