"""Handlers of encryption and of priorities, and how a server finds them."""

import warnings

import pytest

import loomline.encryption
import loomline.priority
from loomline import DecryptResult, Encryption, EncryptionContext, Priority
from loomline.encryption import DuplicateHandlerError, LangGraphBetaWarning

pytestmark = pytest.mark.filterwarnings("ignore::loomline.encryption.LangGraphBetaWarning")

KINDS = {
    "_blob_encryptor": lambda e: e.encrypt.blob,
    "_json_encryptor": lambda e: e.encrypt.json,
    "_blob_decryptor": lambda e: e.decrypt.blob,
    "_json_decryptor": lambda e: e.decrypt.json,
}


async def handler(ctx, data):
    return data


async def defaults(ctx, data, *, extra=None):
    return data


async def one(ctx):
    return {}


async def three(ctx, data, more):
    return data


async def any_number(*arguments):
    return None


def synchronous(ctx, data):
    return data


async def by_name(ctx, data, *, key):
    return data


@pytest.mark.parametrize("slot", KINDS)
@pytest.mark.parametrize("fn", [handler, defaults])
def test_handlers_are_found_by_their_names(slot, fn):
    encryption = Encryption()
    assert KINDS[slot](encryption)(fn) is fn
    assert {name: getattr(encryption, name) for name in KINDS} == {**dict.fromkeys(KINDS), slot: fn}
    assert repr(encryption) == f"Encryption(handlers=[{slot[1:]}])"


@pytest.mark.parametrize("slot", KINDS)
def test_there_is_one_of_each(slot):
    encryption = Encryption()
    KINDS[slot](encryption)(handler)
    # Before anything else is checked.
    with pytest.raises(DuplicateHandlerError, match="already"):
        KINDS[slot](encryption)(5)


# Programs match on these words, which are those of the official package.
NUMBER = r"must accept exactly 2 parameters by position, not {}\. Declare it with \(ctx, data\)\.$"
WRONG = [
    (one, NUMBER.format(1)),
    (three, NUMBER.format(3)),
    (any_number, NUMBER.format(0)),
    (synchronous, r"must be an async function, not function\.$"),
    (5, r"must be an async function, not int\.$"),
    (by_name, r"must not require parameters by name"),
]


@pytest.mark.parametrize("slot", KINDS)
@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_a_handler_with_other_parameters_is_refused_and_not_registered(slot, wrong, message):
    encryption = Encryption()
    with pytest.raises(TypeError, match=message):
        KINDS[slot](encryption)(wrong)
    assert getattr(encryption, slot) is None


def test_objects_have_one_handler_for_all_kinds():
    encryption = Encryption()
    encryption.encrypt.json(handler)
    encryption.decrypt.json(defaults)
    assert encryption.get_json_encryptor("thread") is encryption.get_json_encryptor() is handler
    assert encryption.get_json_decryptor("thread") is encryption.get_json_decryptor() is defaults


def test_the_last_context_handler_counts():
    encryption = Encryption()
    assert encryption.context(handler) is handler
    encryption.context(defaults)
    assert encryption._context_handler is defaults
    assert repr(encryption) == "Encryption(handlers=[context_handler])"


def test_encryption_context_is_immutable_with_defaults():
    context = EncryptionContext("thread", None, "values")
    assert (context.model, context.metadata, context.field) == ("thread", {}, "values")
    assert repr(context) == "EncryptionContext(model='thread', field='values', metadata={})"
    with pytest.raises(AttributeError):
        context.other = 1


def test_decrypt_result_is_immutable_with_defaults():
    result = DecryptResult(b"plain")
    assert (result.plaintext, result.replacement) == (b"plain", None)
    with pytest.raises(AttributeError):
        result.plaintext = b""


def test_the_handler_of_priorities():
    priority = Priority()
    assert priority.assign(one) is one
    assert priority._assign_handler is one
    with pytest.raises(DuplicateHandlerError):
        priority.assign(5)


@pytest.mark.parametrize("wrong", [handler, any_number, synchronous, 5])
def test_invalid_priority_handler_is_not_registered(wrong):
    priority = Priority()
    with pytest.raises(TypeError):
        priority.assign(wrong)
    assert priority._assign_handler is None


@pytest.mark.parametrize(
    ("kind", "once"),
    [
        (Encryption, loomline.encryption._warn_encryption_beta),
        (Priority, loomline.priority._warn_priority_beta),
    ],
)
def test_beta_feature_warns_once_at_the_callers_line(kind, once):
    once.cache_clear()
    with pytest.warns(LangGraphBetaWarning, match="in beta") as caught:
        kind()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind()
