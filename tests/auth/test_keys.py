"""API keys, from a file or a variable."""

import json
import os

import httpx
import pytest
from tests.support import StandingClock

from loomline.server.authn.keys import KeyAuthenticator, digest, new_key
from loomline.server.authn.options import KeyOptions
from loomline.server.authz.errors import Refused
from loomline.server.domain.errors import AuthLoadError


class Headers(dict[str, str]):
    def header(self, name):
        return self.get(name)


def made(*names):
    pairs = [new_key(name) for name in names]
    return [key for key, _ in pairs], [entry for _, entry in pairs]


async def known(keys, **headers):
    return (await keys.authenticate(Headers(headers))).identity


async def test_who_has_a_key_is_its_user():
    (ada, bob), entries = made("ada", "bob")
    entries[0] |= {"permissions": ["write"], "display_name": "Ada", "unknown": 1}
    text = json.dumps(entries)
    assert ada not in text
    keys = KeyAuthenticator(KeyOptions(variable="KEYS"), {"KEYS": text}, StandingClock())
    caller = await keys.authenticate(Headers({"x-api-key": ada}))
    assert (caller.identity, caller.permissions, caller.user.display_name) == (
        "ada",
        ["write"],
        "Ada",
    )
    assert await known(keys, authorization=f"Bearer {bob}") == "bob"
    assert await known(keys, authorization=f"bearer  {bob}") == "bob"
    for headers in [
        {}, {"x-api-key": ""}, {"x-api-key": "ada"}, {"x-api-key": digest(ada)},
        {"authorization": ada}, {"authorization": f"Basic {ada}"}, {"authorization": "Bearer"},
        {"x-api-key": ada + "x" * 1000}, {"x-api-key": "ä"},
    ]:  # fmt: skip
        with pytest.raises(Refused) as caught:
            await known(keys, **headers)
        assert (caught.value.status, caught.value.headers) == (401, {"www-authenticate": "Bearer"})


async def test_a_file_is_read_again_when_it_has_changed(tmp_path, caplog):
    clock, path = StandingClock(), tmp_path / "keys.json"
    (ada, bob), entries = made("ada", "bob")
    path.write_text(json.dumps(entries[:1]))
    keys = KeyAuthenticator(KeyOptions(file=path), {}, clock)

    def write(text, version):
        path.write_text(text)
        os.utime(path, (version, version))
        clock.move(2)

    assert await known(keys, **{"x-api-key": ada}) == "ada"
    write(json.dumps(entries[1:]), 1)
    assert await known(keys, **{"x-api-key": bob}) == "bob"
    with pytest.raises(Refused):
        await known(keys, **{"x-api-key": ada})
    # What cannot be read changes nothing.
    write("{no", 2)
    assert await known(keys, **{"x-api-key": bob}) == "bob"
    path.unlink()
    clock.move(2)
    assert await known(keys, **{"x-api-key": bob}) == "bob"
    assert caplog.text.count("the API keys stay as they were") == 2


async def test_revoked_key_is_refused_although_the_clock_was_set_back(tmp_path):
    clock, path = StandingClock(), tmp_path / "keys.json"
    (ada,), entries = made("ada")
    path.write_text(json.dumps(entries))
    keys = KeyAuthenticator(KeyOptions(file=path), {}, clock)
    assert await known(keys, **{"x-api-key": ada}) == "ada"
    clock.set_back(3600)
    path.write_text("[]")
    clock.move(1)
    with pytest.raises(Refused):
        await known(keys, **{"x-api-key": ada})


GOOD = {"identity": "ada", "sha256": "0" * 64}


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[1]", "nonsense", '[{"identity": "ada"}]',
        json.dumps([GOOD | {"sha256": "0" * 63}]), json.dumps([GOOD | {"sha256": "F" * 64}]),
        json.dumps([GOOD | {"identity": ""}]), json.dumps([GOOD | {"identity": "*"}]),
        json.dumps([GOOD | {"permissions": "all"}]), json.dumps([GOOD | {"permissions": [1]}]),
    ],
)  # fmt: skip
def test_keys_that_cannot_be_read(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    for options in (KeyOptions(file=path), KeyOptions(variable="KEYS")):
        with pytest.raises(AuthLoadError):
            KeyAuthenticator(options, {"KEYS": text}, StandingClock())
    with pytest.raises(AuthLoadError, match="cannot be read"):
        KeyAuthenticator(KeyOptions(file=tmp_path / "none"), {}, StandingClock())


def test_a_server_with_keys(serve, tmp_path):
    (ada,), entries = made("ada")
    (tmp_path / "keys.json").write_text(json.dumps(entries))
    with serve({"api_keys": {"file": "./keys.json"}}) as url:
        assert httpx.post(f"{url}/threads", json={}).status_code == 401
        answer = httpx.post(f"{url}/threads", json={}, headers={"x-api-key": ada})
        # Without handlers everybody who is known may do everything.
        assert (answer.status_code, answer.json()["metadata"]) == (200, {})


def test_api_keys_identify_users_for_handlers(serve, tmp_path):
    (ada, bob), entries = made("ada", "bob")
    (tmp_path / "keys.json").write_text(json.dumps(entries))
    code = (
        "import loomline\nauth = loomline.Auth()\n@auth.on\nasync def own(ctx, value):\n"
        "    value.setdefault('metadata', {})['owner'] = ctx.user.identity\n"
        "    return {'owner': ctx.user.identity}\n"
    )
    with serve({"api_keys": {"file": "./keys.json"}}, code=code) as url:
        made_thread = httpx.post(f"{url}/threads", json={}, headers={"x-api-key": ada}).json()
        place = f"{url}/threads/{made_thread['thread_id']}"
        assert httpx.get(place, headers={"x-api-key": ada}).status_code == 200
        assert httpx.get(place, headers={"x-api-key": bob}).status_code == 404


def test_private_server_keeps_the_resources_of_its_keys_separate(serve, tmp_path):
    names = ("a.b@x.com", "a%2Eb@x.com")
    keys, entries = made(*names)
    (tmp_path / "keys.json").write_text(json.dumps(entries))
    with serve({"api_keys": {"file": "./keys.json"}, "private": True}) as url:
        ada, bob = (httpx.Client(base_url=url, headers={"x-api-key": key}) for key in keys)
        with ada, bob:
            thread = ada.post("/threads", json={}).json()
            assert thread["metadata"] == {"owner": names[0]}
            assert bob.get(f"/threads/{thread['thread_id']}").status_code == 404
            for http, text in ((ada, "of ada"), (bob, "of bob")):
                item = {"namespace": ["n"], "key": "k", "value": {"text": text}}
                assert http.put("/store/items", json=item).status_code == 204
            found = [http.get("/store/items?namespace=n&key=k").json() for http in (ada, bob)]
            assert [each["value"]["text"] for each in found] == ["of ada", "of bob"]
            assert len(ada.post("/store/namespaces", json={}).json()["namespaces"]) == 1
