"""The channels of the thread protocol are one list in the client and one in the server."""

import re
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from loomline.server.domain.protocol import CHANNELS, UnknownChannels, make_filter
from loomline.server.domain.run_spec import THREAD_MODES
from loomline.server.services.requests import ProtocolStreamRequest
from loomline.stream import Channel
from loomline.stream.decoders import (
    RESERVED_INTERLEAVE_CHANNELS,
    SUPPORTED_INTERLEAVE_CHANNELS,
)
from loomline.stream.subscription import infer_channel
from loomline.stream.types import CHANNELS as CLIENT_CHANNELS

REQUEST = TypeAdapter(ProtocolStreamRequest)


def test_the_client_and_the_server_have_the_same_channels():
    assert set(CLIENT_CHANNELS) == set(CHANNELS)
    assert len(CLIENT_CHANNELS) == len(CHANNELS)


def test_the_type_of_a_channel_lists_the_channels_of_the_client():
    assert get_args(get_args(Channel)[0]) == CLIENT_CHANNELS


@pytest.mark.parametrize("channel", [*CLIENT_CHANNELS, "custom:progress", "custom:two\nlines"])
def test_a_channel_of_the_client_is_a_channel_of_the_document_and_of_the_server(channel):
    assert REQUEST.validate_python({"channels": [channel]}) == {"channels": [channel]}
    wanted = make_filter({"channels": [channel]})
    assert wanted.channels | wanted.names


@pytest.mark.parametrize("channel", ["input.requested", "custom:", "value", "values\n", ""])
def test_an_unknown_channel_is_refused_by_the_document_and_by_the_server(channel):
    with pytest.raises(ValidationError):
        REQUEST.validate_python({"channels": [channel]})
    with pytest.raises(UnknownChannels, match=re.escape(f"{', '.join(CHANNELS)}, custom:<name>")):
        make_filter({"channels": [channel]})


def test_every_channel_of_the_client_has_the_events_of_a_method():
    methods = [*CLIENT_CHANNELS, "input.requested", "input.answered"]
    found = {infer_channel({"type": "event", "method": each}) for each in methods}
    assert found - {None} == set(CLIENT_CHANNELS)
    assert infer_channel({"type": "event", "method": "input"}) is None


def test_every_channel_but_input_is_a_stream_mode_of_a_run():
    assert set(THREAD_MODES) == set(CHANNELS) - {"input"}


def test_channels_without_a_projection_are_reserved():
    assert {"input", "lifecycle", "tools"} == RESERVED_INTERLEAVE_CHANNELS
    assert set(SUPPORTED_INTERLEAVE_CHANNELS) & set(CLIENT_CHANNELS) == set(CHANNELS) - {
        "input", "lifecycle", "tools", "custom",
    }  # fmt: skip
