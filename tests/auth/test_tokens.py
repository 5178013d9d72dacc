"""Tokens: of an issuer that publishes its keys and changes them, and with a shared secret."""

import asyncio
import base64
import contextlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings, strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.support import StandingClock

from loomline.server.authn.jwks import (
    AGAIN_SECONDS,
    FRESH_SECONDS,
    KEEP_SECONDS,
    PublishedKeys,
    SecretKey,
)
from loomline.server.authn.keys import new_key
from loomline.server.authn.options import TokenOptions
from loomline.server.authn.tokens import TokenAuthenticator
from loomline.server.authz.errors import Refused
from loomline.server.domain.errors import AuthLoadError

SECRET = "s" * 32
RSA_KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
EC_KEY = ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """An OpenID provider."""

    def __init__(self):
        self.keys, self.asked, self.broken = [], [], None
        self.endless, self._closing = False, threading.Event()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                body = issuer.answer(self.path)
                self.send_response(200 if body is not None else 500)
                self.end_headers()
                with contextlib.suppress(OSError):
                    while issuer.endless and not issuer.pause():
                        self.wfile.write(b" ")
                    self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path):
        if self.broken is not None:
            return self.broken if isinstance(self.broken, bytes) else None
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        return json.dumps({"keys": self.keys}).encode()

    def pause(self):
        return self._closing.wait(0.02)

    def publish(self, **keys):
        self.keys = [jwk(key) | {"kid": kid, "use": "sig"} for kid, key in keys.items()]

    def close(self):
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


def jwk(key):
    algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return json.loads(algorithm.to_jwk(key.public_key()))


@pytest.fixture
def issuer():
    made = Issuer()
    made.publish(one=RSA_KEYS[0])
    yield made
    made.close()


class Headers(dict[str, str]):
    def header(self, name):
        return self.get(name)


def signed(issuer, key=RSA_KEYS[0], kid="one", alg="RS256", **claims):
    good = {"sub": "ada", "iss": issuer, "aud": "loomline", "exp": int(time.time()) + 60}
    given = {name: each for name, each in (good | claims).items() if each is not None}
    return jwt.encode(given, key, alg, headers={} if kid is None else {"kid": kid})


def options(issuer, **more):
    return TokenOptions(issuer, ("loomline", "other"), ("RS256", "ES256"), **more)


def tokens_of(issuer, clock=None, **more):
    given = options(issuer.url, **more)
    keys = PublishedKeys(given.jwks_url, given.issuer, clock or StandingClock())
    return TokenAuthenticator(given, keys)


async def known(tokens, token):
    return await tokens.authenticate(Headers({"authorization": f"Bearer {token}"}))


async def refused(tokens, token, status=401):
    with pytest.raises(Refused) as caught:
        await known(tokens, token)
    assert caught.value.status == status
    return caught.value


async def test_valid_token_identifies_its_user_and_scopes(issuer):
    tokens = tokens_of(issuer)
    caller = await known(
        tokens, signed(issuer.url, name="Ada", scope="read write", aud=["x", "loomline"])
    )
    assert (caller.identity, caller.permissions) == ("ada", ["read", "write"])
    assert (caller.user.display_name, caller.user.claims["scope"]) == ("Ada", "read write")
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    assert (await known(tokens, signed(issuer.url, scope=["a", 1]))).permissions == ["a"]
    # One key needs no id.
    assert (await known(tokens, signed(issuer.url, kid=None))).identity == "ada"
    assert len(issuer.asked) == 2


async def test_claims_of_ones_own_choice(issuer):
    tokens = tokens_of(
        issuer, jwks_url=f"{issuer.url}/keys", identity_claim="email", permissions_claim="roles"
    )
    caller = await known(tokens, signed(issuer.url, email="a@x", roles=["admin"]))
    assert (caller.identity, caller.permissions) == ("a@x", ["admin"])
    assert issuer.asked == ["/keys"]
    # A claim never becomes a field of its own: it could pass for one that means something.
    assert "email" not in caller.user
    await refused(tokens, signed(issuer.url))


def forged(issuer, algorithm, sign):
    header = json.dumps({"alg": algorithm, "kid": "one"}).encode()
    content = b".".join([base64url(header), signed(issuer).split(".")[1].encode()])
    return (content + b"." + base64url(sign(content))).decode()


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def unsigned(issuer):
    return forged(issuer, "none", lambda _: b"")


def confused(issuer):
    """Return a token that takes the public key, which everybody knows, for a secret."""
    public = json.dumps(jwk(RSA_KEYS[0])).encode()
    return forged(issuer, "HS256", lambda content: hmac.digest(public, content, "sha256"))


async def test_invalid_or_expired_tokens_are_refused(issuer):
    tokens, url = tokens_of(issuer), issuer.url
    now = int(time.time())
    bad = [
        "", "x", "a.b.c", "ä.ö.ü", "." * 10, "x" * 20_000,
        signed(url, exp=now - 60), signed(url, exp=None), signed(url, nbf=now + 60),
        signed(url, aud="elsewhere"), signed(url, aud=None),
        signed("https://evil.example"), signed(url, iss=None),
        signed(url, sub=None), signed(url, sub=""), signed(url, sub="*"), signed(url, sub="a\0"), signed(url, sub="\ud83d"), signed(url, sub="a" * 1001),
        signed(url, key=RSA_KEYS[1]), signed(url, key=RSA_KEYS[1], kid="two"),
        signed(url, alg="RS512"), unsigned(url), confused(url), signed(url)[:-3],
        signed(url, key=EC_KEY, alg="ES256"),
    ]  # fmt: skip
    texts = {str(await refused(tokens, token)) for token in bad}
    assert texts == {"The token is missing, invalid or expired."}
    with pytest.raises(Refused):
        await tokens.authenticate(Headers())
    assert (await known(tokens, signed(url))).identity == "ada"


async def test_new_keys_of_an_issuer_are_fetched_when_needed(issuer):
    clock = StandingClock()
    tokens = tokens_of(issuer, clock, jwks_url=f"{issuer.url}/keys")
    await known(tokens, signed(issuer.url))
    issuer.publish(two=RSA_KEYS[1], three=EC_KEY)
    new = signed(issuer.url, RSA_KEYS[1], "two")
    # Unknown ids do not make it ask again and again.
    await refused(tokens, new)
    assert len(issuer.asked) == 1
    clock.move(AGAIN_SECONDS)
    assert (await known(tokens, new)).identity == "ada"
    assert (await known(tokens, signed(issuer.url, EC_KEY, "three", "ES256"))).identity == "ada"
    # The old key counts no longer.
    await refused(tokens, signed(issuer.url))
    assert len(issuer.asked) == 2


async def test_a_key_that_is_withdrawn_counts_no_longer(issuer):
    clock = StandingClock()
    tokens = tokens_of(issuer, clock)
    await known(tokens, signed(issuer.url))
    issuer.publish(two=RSA_KEYS[1])
    await known(tokens, signed(issuer.url))
    clock.move(FRESH_SECONDS)
    await refused(tokens, signed(issuer.url))


async def test_withdrawn_key_is_refused_although_the_clock_was_set_back(issuer):
    clock = StandingClock()
    tokens = tokens_of(issuer, clock)
    await known(tokens, signed(issuer.url))
    issuer.publish(two=RSA_KEYS[1])
    clock.set_back(3600)
    clock.move(FRESH_SECONDS)
    await refused(tokens, signed(issuer.url))
    asked = len(issuer.asked)
    clock.set_back(3600)
    clock.move(AGAIN_SECONDS)
    await refused(tokens, signed(issuer.url))
    assert len(issuer.asked) > asked


@pytest.mark.parametrize("broken", [True, b"", b"{}", b"[]", b"x" * 2_000_000, b'{"keys": {}}'])
async def test_an_issuer_that_does_not_answer(issuer, broken):
    clock = StandingClock()
    tokens = tokens_of(issuer, clock, jwks_url=f"{issuer.url}/keys")
    issuer.broken = broken
    await refused(tokens, signed(issuer.url), 503)
    issuer.broken = None
    clock.move(AGAIN_SECONDS)
    await known(tokens, signed(issuer.url))
    # What is known goes on counting, for a while.
    issuer.broken = broken
    clock.move(FRESH_SECONDS)
    await known(tokens, signed(issuer.url))
    clock.move(KEEP_SECONDS)
    await refused(tokens, signed(issuer.url), 503)


async def test_an_issuer_that_never_ends_its_answer(issuer):
    issuer.endless = True
    keys = PublishedKeys(None, issuer.url, StandingClock(), patience_seconds=0.3)
    tokens = TokenAuthenticator(options(issuer.url), keys)
    await refused(tokens, signed(issuer.url), 503)


async def test_cancelled_fetch_of_keys_leaves_other_callers_unaffected(issuer):
    tokens = tokens_of(issuer, StandingClock(), jwks_url=f"{issuer.url}/keys")
    issuer.endless = True
    first = asyncio.create_task(known(tokens, signed(issuer.url)))
    while not issuer.asked:
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    issuer.endless = False
    assert (await known(tokens, signed(issuer.url))).identity == "ada"


async def test_an_issuer_that_names_another(issuer):
    tokens = tokens_of(issuer)
    issuer.broken = json.dumps({"issuer": "https://x", "jwks_uri": f"{issuer.url}/keys"}).encode()
    await refused(tokens, signed(issuer.url), 503)


async def test_keys_of_other_kinds_are_passed_over(issuer):
    good = jwk(RSA_KEYS[0]) | {"kid": "one"}
    other = [
        {"kty": "oct", "k": "AAAA", "kid": "x"},
        7,
        {"kty": "RSA", "kid": "y"},
        good | {"use": "enc", "kid": "z"},
    ]
    issuer.keys = [*other, good]
    tokens = tokens_of(issuer)
    assert (await known(tokens, signed(issuer.url))).identity == "ada"
    await refused(tokens, signed(issuer.url, kid="z"))


async def test_tokens_with_a_shared_secret_are_verified():
    given = TokenOptions("me", ("loomline",), ("HS256",), secret_variable="S")
    tokens = TokenAuthenticator(given, SecretKey(SECRET, "S"))
    assert (await known(tokens, signed("me", SECRET, alg="HS256"))).identity == "ada"
    await refused(tokens, signed("me", "t" * 32, alg="HS256"))
    for secret in ("", "short"):
        with pytest.raises(AuthLoadError, match="32 bytes"):
            SecretKey(secret, "S")


def test_a_server_with_keys_and_tokens(serve, tmp_path, issuer):
    key, entry = new_key("bob")
    (tmp_path / "keys.json").write_text(json.dumps([entry]))
    section = {
        "api_keys": {"file": "./keys.json"},
        "jwt": {"issuer": issuer.url, "audience": "loomline"},
    }
    code = (
        "import loomline\nauth = loomline.Auth()\n@auth.on\nasync def who(ctx, value):\n"
        "    raise loomline.Auth.exceptions.HTTPException(418, ctx.user.identity)\n"
    )
    with serve(section, code=code) as url, httpx.Client(base_url=url) as http:

        def ask(**headers):
            answer = http.post("/threads", json={}, headers=headers)
            return answer.status_code, answer.json()["detail"]

        assert ask(authorization=f"Bearer {signed(issuer.url)}") == (418, "ada")
        assert ask(authorization=f"Bearer {key}") == (418, "bob")
        assert ask(**{"x-api-key": key}) == (418, "bob")
        assert ask()[0] == ask(authorization="Bearer x")[0] == ask(**{"x-api-key": "x"})[0] == 401


@settings(max_examples=200, deadline=None)
@given(st.data())
async def test_no_other_token_is_as_good(data):
    given_options = TokenOptions("me", ("loomline",), ("HS256",), secret_variable="S")
    tokens = TokenAuthenticator(given_options, SecretKey(SECRET, "S"))
    good = signed("me", SECRET, alg="HS256")
    place = data.draw(st.integers(0, len(good) - 1))
    changed = good[:place] + data.draw(st.text(max_size=3)) + good[place + 1 :]
    parts = good.split(".")
    mixed = ".".join(data.draw(st.lists(st.sampled_from([*parts, "", "e30"]), max_size=4)))
    for token in (changed, mixed, data.draw(st.text(max_size=80))):
        # The last character of a signature holds bits that nobody reads.
        if decoded(token) != decoded(good):
            await refused(tokens, token)


def decoded(token):
    try:
        return [jwt.utils.base64url_decode(part) for part in token.strip().split(".")]
    except ValueError:
        return token
