# Generated from test_http.py by tools/unasync.py. Do not edit.
import dataclasses
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from tests.client.scripted import Script, answer, stream

from loomline import errors
from loomline.client import SyncHttpClient

EVENT = b'event: values\r\ndata: {"n":%d}\r\nid: %d-0\r\n\r\n'
END = b": end\r\n\r\n"
PLACE = "/threads/t/runs/r/stream"


class Broken(httpx.SyncByteStream):
    """A body that breaks off."""

    def __init__(self, *chunks):
        self.chunks = chunks

    def __iter__(self):
        for chunk in self.chunks:
            yield chunk
        raise httpx.ReadError("broken off")

    def close(self):
        pass


class Slept:
    def __init__(self):
        self.seconds = []

    def __call__(self, seconds):
        self.seconds.append(seconds)


def client_of(script, sleep=None):
    client = httpx.Client(base_url="http://h/base", transport=httpx.MockTransport(script))
    return SyncHttpClient(client, sleep=sleep or Slept())


def collect(http, *arguments, **options):
    return [part for part in http.stream(*arguments, **options)]


def event(number):
    return EVENT % (number, number)


def about(*seconds):
    return [pytest.approx(each * 1.125, rel=0.12) for each in seconds]


def test_answers_are_decoded_by_their_content():
    script = Script(
        answer({"a": 1}), httpx.Response(204), answer([1]), answer(2), httpx.Response(200)
    )
    http = client_of(script)
    assert http.post("/x", json={"b": 2}) == {"a": 1}
    assert script.last.url == "http://h/base/x"
    assert script.last.headers["content-type"] == "application/json"
    assert script.last.content == b'{"b":2}'
    assert http.post("/x", json=None) is None
    assert "content-type" not in script.last.headers
    assert http.put("/x", json=1) == [1]
    assert http.patch("/x", json=1) == 2
    assert http.delete("/x", json={"key": {1}}) is None
    assert script.body() == {"key": [1]}
    assert [request.method for request in script.requests] == [
        "POST",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
    ]


def test_query_and_headers_are_sent_as_given():
    script = Script(*[answer({})] * 3)
    http = client_of(script)
    http.get("/x", params={"a": True, "b": [1, 2], "c": None}, headers={"X-Y": "z"})
    assert script.last.url.query == b"a=true&b=1&b=2&c="
    assert script.last.headers["x-y"] == "z"
    http.get("/x", params=[("a", "1"), ("a", "2")])
    assert script.last.url.query == b"a=1&a=2"
    http.get("/x", params="a=1&b=")
    assert script.last.url.query == b"a=1&b="


@dataclasses.dataclass
class Point:
    x: int


class Model:
    def model_dump(self):
        return {"model": True}


class Old:
    def dict(self):
        return {"old": True}


def test_values_of_many_types_are_sent_as_json():
    script = Script(*[answer({})] * 9)
    http = client_of(script)
    values = {
        "point": Point(1), "model": Model(), "old": Old(), "set": frozenset({1}), "nan": float("nan"),
        "time": datetime(2026, 1, 2, tzinfo=UTC), "id": UUID(int=1), "tuple": (1,), 5: None,
    }  # fmt: skip
    http.post("/x", json=values)
    assert script.body() == {
        "point": {"x": 1}, "model": {"model": True}, "old": {"old": True}, "set": [1], "nan": None,
        "time": "2026-01-02T00:00:00+00:00", "id": str(UUID(int=1)), "tuple": [1], "5": None,
    }  # fmt: skip
    for bad in (Model, b"bytes", object(), 2**70):
        with pytest.raises(TypeError):
            http.post("/x", json={"bad": bad})


def test_large_answers_are_decoded_too():
    large = {"text": "x" * 400_000}
    assert client_of(Script(answer(large))).get("/x") == large


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (422, errors.UnprocessableEntityError),
        (429, errors.RateLimitError),
        (500, errors.InternalServerError),
        (503, errors.InternalServerError),
        (418, errors.APIStatusError),
        (302, errors.APIStatusError),
    ],
)
def test_every_status_has_its_error(status, kind):
    refusal = answer({"detail": "no", "code": "c"}, status, x_request_id="q")
    for call in ("get", "request_reconnect", "stream"):
        http = client_of(Script(refusal))
        with pytest.raises(kind, match="no") as raised:
            if call == "get":
                http.get("/x")
            elif call == "stream":
                collect(http, "/x", "GET")
            else:
                http.request_reconnect("/x", "GET")
        error = raised.value
        assert isinstance(error, httpx.HTTPStatusError)
        assert isinstance(error, errors.LangGraphError)
        assert (error.status_code, error.request_id, error.code) == (status, "q", "c")
        assert error.body == {"detail": "no", "code": "c"}
        assert error.response.status_code == status
        assert error.request.url == "http://h/base/x"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "m", "detail": "d"}, "m"),
        ({"error": {"message": "nested"}}, "nested"),
        ({"detail": [1]}, "404 Not Found"),
        ([1], "404 Not Found"),
    ],
)
def test_the_message_of_an_error(body, message):
    with pytest.raises(errors.NotFoundError) as raised:
        client_of(Script(answer(body, 404))).get("/x")
    assert str(raised.value) == raised.value.message == message


def test_an_error_without_json():
    with pytest.raises(errors.InternalServerError) as raised:
        client_of(Script(httpx.Response(502, text="<html>"))).get("/x")
    assert raised.value.body == "<html>"
    assert str(raised.value) == "502 Bad Gateway"
    with pytest.raises(errors.APIStatusError, match="599 HTTP Error"):
        client_of(Script(httpx.Response(599))).get("/x")


def test_an_answer_that_is_not_json():
    with pytest.raises(errors.APIResponseValidationError) as raised:
        client_of(Script(httpx.Response(200, text="nope"))).get("/x")
    assert isinstance(raised.value, ValueError)
    assert raised.value.status_code == 200


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx.ConnectError, errors.APIConnectionError),
        (httpx.ReadError, errors.APIConnectionError),
        (httpx.RemoteProtocolError, errors.APIConnectionError),
        (httpx.ConnectTimeout, errors.APITimeoutError),
        (httpx.ReadTimeout, errors.APITimeoutError),
        (httpx.PoolTimeout, errors.APITimeoutError),
        (httpx.ProxyError, errors.APIConnectionError),
    ],
)
def test_errors_of_the_connection_are_both(cause, kind):
    with pytest.raises(kind) as raised:
        client_of(Script(cause("why"))).get("/x")
    expected = httpx.TransportError if cause is httpx.ProxyError else cause
    assert isinstance(raised.value, expected)
    assert str(raised.value) == "why"
    assert raised.value.request.url == "http://h/base/x"


def test_the_response_is_shown_before_it_is_judged():
    seen = []
    with pytest.raises(errors.NotFoundError):
        client_of(Script(answer({}, 404))).get("/x", on_response=seen.append)
    assert [response.status_code for response in seen] == [404]


# -- requests that may be taken up again ------------------------------------------------------


def test_waiting_over_a_broken_line():
    slept = Slept()
    first = httpx.Response(200, stream=Broken(b"\n\n"), headers={"location": "/again"})
    script = Script(first, answer({}, 503), httpx.ConnectError("down"), answer({"done": True}))
    seen = []
    http = client_of(script, slept)
    with pytest.warns(UserWarning, match="attempting reconnect"):
        result = http.request_reconnect(
            "/x", "POST", json={"a": 1}, headers={"k": "v"}, on_response=seen.append
        )
    assert result == {"done": True}
    assert len(seen) == 1
    assert slept.seconds == about(1, 2, 4)
    again = script.requests[1:]
    assert {(each.method, each.url.path, each.headers["k"], each.content) for each in again} == {
        ("GET", "/base/again", "v", b"")
    }


def test_wait_gives_up_after_five_reconnects():
    first = httpx.Response(200, stream=Broken(), headers={"location": "/again"})
    script = Script(first, *[answer({"detail": "busy"}, 503)] * 5)
    with (
        pytest.warns(UserWarning, match="attempting reconnect"),
        pytest.raises(errors.InternalServerError, match="busy"),
    ):
        client_of(script).request_reconnect("/x", "GET")
    assert len(script.requests) == 6


def test_wait_does_not_retry_a_refused_request():
    first = httpx.Response(200, stream=Broken(), headers={"location": "/again"})
    with (
        pytest.warns(UserWarning, match="attempting reconnect"),
        pytest.raises(errors.NotFoundError),
    ):
        client_of(Script(first, answer({}, 404))).request_reconnect("/x", "GET")


def test_without_a_location_a_broken_line_is_an_error():
    with pytest.raises(errors.APIConnectionError, match="broken off"):
        client_of(Script(httpx.Response(200, stream=Broken()))).request_reconnect("/x", "GET")


@pytest.mark.parametrize("location", ["http://other/x", "https://h/x", "http://h:81/x"])
def test_credentials_do_not_go_to_other_servers(location):
    with pytest.raises(ValueError, match="another origin"):
        client_of(Script(answer({"a": 1}, location=location))).request_reconnect("/x", "GET")
    with pytest.raises(ValueError, match="another origin"):
        collect(client_of(Script(stream(event(1), location=location))), "/x", "GET")


# -- streams ------------------------------------------------------------------------------------


def test_stream_yields_events_with_their_ids():
    script = Script(stream(event(1) + b": heartbeat\r\n\r\n" + event(2) + END, location=PLACE))
    parts = collect(client_of(script), "/x", "POST", json={"a": 1}, headers={"k": "v"})
    assert parts == [("values", {"n": 1}, "1-0"), ("values", {"n": 2}, "2-0")]
    assert script.last.headers["accept"] == "text/event-stream"
    assert script.last.headers["cache-control"] == "no-store"
    assert script.last.headers["k"] == "v"
    assert len(script.requests) == 1


def test_a_stream_is_lazy():
    script = Script()
    client_of(script).stream("/x", "GET")
    assert script.requests == []


def test_a_stream_over_broken_lines():
    slept = Slept()
    script = Script(
        stream(Broken(event(1)), location=PLACE),
        httpx.ConnectError("down"),
        answer({}, 500),
        stream(Broken(event(2))),
        stream(event(3) + END),
    )
    http = client_of(script, slept)
    given = {"Last-Event-ID": "0-0", "k": "v"}
    parts = collect(http, "/x", "POST", json={"a": 1}, params={"q": 1}, headers=given)
    assert [part.data["n"] for part in parts] == [1, 2, 3]
    assert slept.seconds == about(1, 2, 4, 1)
    assert [request.headers.get_list("last-event-id") for request in script.requests] == [
        ["0-0"],
        ["1-0"],
        ["1-0"],
        ["1-0"],
        ["2-0"],
    ]
    again = script.requests[1]
    assert (again.method, again.url.path, again.url.query, again.content) == (
        "GET",
        f"/base{PLACE}",
        b"",
        b"",
    )
    assert again.headers["k"] == "v"
    assert "content-type" not in again.headers


def test_a_stream_gives_up_after_five_attempts_without_progress():
    script = Script(stream(Broken(event(1)), location=PLACE), *[httpx.ConnectError("down")] * 5)
    slept = Slept()
    with pytest.raises(
        errors.APIConnectionError, match="Exceeded maximum SSE reconnection"
    ) as raised:
        collect(client_of(script, slept), "/x", "GET")
    assert isinstance(raised.value, httpx.TransportError)
    assert "down" in str(raised.value.__cause__)
    assert slept.seconds == about(1, 2, 4, 5, 5)


def test_progress_gives_new_attempts():
    script = Script(*[stream(Broken(event(n)), location=PLACE) for n in range(12)], stream(END))
    assert len(collect(client_of(script), "/x", "GET")) == 12


def test_a_refused_reconnect_is_final():
    script = Script(stream(Broken(event(1)), location=PLACE), answer({"detail": "gone"}, 404))
    with pytest.raises(errors.NotFoundError, match="gone"):
        collect(client_of(script), "/x", "GET")


def test_without_ids_a_reconnect_warns():
    script = Script(stream(Broken(b"data: 1\n\n"), location=PLACE), stream(END))
    with pytest.warns(UserWarning, match="no event ids"):
        assert collect(client_of(script), "/x", "GET") == [("", 1, None)]


def test_without_a_location_a_broken_stream_is_an_error():
    with pytest.raises(errors.APIConnectionError, match="broken off"):
        collect(client_of(Script(stream(Broken(event(1))))), "/x", "GET")


def test_a_stream_must_be_one():
    with pytest.raises(errors.APIConnectionError, match="Expected text/event-stream"):
        collect(client_of(Script(answer({}, location=PLACE))), "/x", "GET")


@pytest.mark.parametrize("status", ["success", "error", "interrupted"])
def test_a_clean_close_is_checked_with_the_run(status):
    script = Script(stream(event(1), location=f"{PLACE}?a=1"), answer({"status": status}))
    assert len(collect(client_of(script), "/x", "GET", headers={"k": "v"})) == 1
    check = script.last
    assert (check.method, check.url.path, check.url.query) == ("GET", "/base/threads/t/runs/r", b"")
    assert (check.headers["accept"], check.headers["k"]) == ("application/json", "v")
    assert "last-event-id" not in check.headers


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_run_that_goes_on_is_followed(status):
    script = Script(
        stream(event(1), location=PLACE), answer({"status": status}), stream(event(2) + END)
    )
    assert len(collect(client_of(script), "/x", "GET")) == 2
    assert script.last.headers["last-event-id"] == "1-0"


@pytest.mark.parametrize(
    "reply",
    [answer({}, 404), answer({}, 403), httpx.Response(200, text="x"), answer({}), answer([])],
)
def test_a_check_without_an_answer_ends_the_stream(reply):
    assert (
        len(collect(client_of(Script(stream(event(1), location=PLACE), reply)), "/x", "GET")) == 1
    )


@pytest.mark.parametrize("reply", [answer({}, 500), answer({}, 429), httpx.ConnectError("down")])
def test_a_check_that_fails_counts_as_a_broken_line(reply):
    script = Script(stream(event(1), location=PLACE), reply, stream(event(2) + END))
    assert len(collect(client_of(script), "/x", "GET")) == 2


@pytest.mark.parametrize(
    ("ending", "location"),
    [
        (b"event: end\r\n\r\n", PLACE),
        (b"event: error\r\ndata: {}", PLACE),
        (END, PLACE),
        (b"", "/runs/r/stream"),
        (b"", "/threads/t/stream"),
    ],
)
def test_complete_stream_is_not_requested_again(ending, location):
    script = Script(stream(event(1) + ending, location=location))
    collect(client_of(script), "/x", "GET")
    assert len(script.requests) == 1


def test_leaving_a_stream_closes_the_response():
    reply = stream(event(1) + event(2), location=PLACE)
    parts = client_of(Script(reply)).stream("/x", "GET")
    next(parts)
    parts.close()
    assert reply.is_closed
