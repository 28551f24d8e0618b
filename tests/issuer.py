"""An external issuer for tests: a real HTTP server with keys of its own, which makes tokens."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "mostrador-tests"


class FakeIssuer:
    """Serves `/jwks`. `asked` counts how often; `answer` replaces what it says."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: tuple[int, bytes] | None = None
        self._keys: dict[str, Any] = {}
        self._jwks: list[dict[str, Any]] = []
        self.add("rsa-1", "RS256")
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = issuer.served()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Also its name as an issuer."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def settings(self) -> dict[str, str]:
        """What an installation that trusts it is told."""
        return {
            "oidc_issuer": self.url,
            "oidc_audience": AUDIENCE,
            "oidc_jwks_url": f"{self.url}/jwks",
        }

    def add(self, name: str, algorithm: str) -> None:
        """Another key."""
        if algorithm == "RS256":
            key: Any = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._keys[name] = (key, algorithm)
        self._jwks.append({**public, "kid": name, "use": "sig", "alg": algorithm})

    def served(self) -> tuple[int, bytes]:
        """Its keys, among some that nobody can use."""
        self.asked += 1
        if self.answer is not None:
            return self.answer
        odd = [{"kty": "oct", "kid": "odd"}, {"kty": "RSA", "kid": "broken", "n": "!"}, {"kid": 1}]
        return 200, json.dumps({"keys": [*odd, *self._jwks]}).encode()

    def token(self, subject: str, *, key: str = "rsa-1", **claims: Any) -> str:
        """A token that is good for us, unless the claims say otherwise."""
        private, algorithm = self._keys[key]
        now = int(time.time())
        told = {
            "iss": self.url, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 300,
        } | claims  # fmt: skip
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(told, private, algorithm=algorithm, headers={"kid": key})

    def private(self, key: str) -> Any:
        """To forge with."""
        return self._keys[key][0]
