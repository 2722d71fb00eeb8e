"""Signing in with the site's identity provider (OpenID Connect, authorization code with PKCE, state and nonce).

The provider is inside the site's network; it is asked at the address in the settings and nowhere else, with the site's
own CA where one is named. Who somebody is and in which groups comes from the signed ID token; groups decide the role.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.common.security import generate_token  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import OAuth2Client  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from pydantic import TypeAdapter, ValidationError

from appliance.errors import ConfigError, PolicyRefused, Unavailable
from appliance.settings import ConsoleSettings
from appliance.user import RESERVED, Name, Role
from appliance.work import Noun
from control.refusals import NotSignedIn

SCOPE = "openid profile email groups"
SECONDS = 10.0
"""The provider's time to answer."""
KEPT_SECONDS = 3600.0
"""How long what the provider says of itself is believed; its keys are asked for anew as soon as one is unknown."""
LEEWAY = 120
"""Seconds by which the clocks of provider and box may differ."""
SIGNED_WITH = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""No `none`, and nothing that a shared secret signs (RFC 8725)."""


class Pending(Noun):
    """A sign-in under way: what must come back with the answer."""

    state: str
    nonce: str
    verifier: str
    next: str


class Person(Noun):
    """Whom the provider vouches for."""

    subject: str
    name: Name
    full_name: str
    role: Role


class IdentityProvider:
    """One provider. Safe for threads."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._secret = _secret(settings.oidc_secret_file)
        self._trust = _trust(settings.oidc_ca_file)
        self._known: tuple[float, dict[str, Any], KeySet] | None = None
        self._lock = threading.Lock()

    def begin(self, back: str, wanted: str) -> tuple[str, Pending]:
        """The address to send the browser to, and what to remember. Raises Unavailable."""
        metadata, _ = self._metadata()
        pending = Pending(state=generate_token(32), nonce=generate_token(32), verifier=generate_token(64), next=wanted)
        with self._client(back) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"], state=pending.state, nonce=pending.nonce,
                code_verifier=pending.verifier,
            )  # fmt: skip
        return str(url), pending

    def finish(self, back: str, pending: Pending, answer: str) -> Person:
        """Who came back. `answer` is the whole address that the provider led to.

        Raises:
            NotSignedIn: the provider refused, or what it says cannot be proved.
            PolicyRefused: none of the person's groups has a role here.
            Unavailable: it does not answer.
        """
        metadata, keys = self._metadata()
        try:
            with self._client(back) as client:
                token = client.fetch_token(
                    metadata["token_endpoint"], authorization_response=answer, state=pending.state,
                    code_verifier=pending.verifier,
                )  # fmt: skip
            claims = self._claims(token, pending.nonce, metadata, keys)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        except (AuthlibBaseError, JoseError, KeyError, ValueError) as error:
            said = getattr(error, "description", "") or getattr(error, "error", "") or type(error).__name__
            raise NotSignedIn(f"the identity provider did not vouch for you ({said})", "sign in again") from error
        return self._person(claims)

    def _claims(self, token: Mapping[str, Any], nonce: str, metadata: Mapping[str, Any], keys: KeySet) -> CodeIDToken:
        registry = JWSRegistry(algorithms=SIGNED_WITH, strict_check_header=False)
        try:
            decoded = jwt.decode(token["id_token"], key=keys, registry=registry)
        except InvalidKeyIdError:
            decoded = jwt.decode(token["id_token"], key=self._metadata(anew=True)[1], registry=registry)
        options = {"iss": {"essential": True, "values": [metadata["issuer"]]}, "nonce": {"essential": True}}
        asked = {"nonce": nonce, "client_id": self._settings.oidc_client_id, "access_token": token.get("access_token")}
        claims = CodeIDToken(decoded.claims, decoded.header, options, asked)
        claims.validate(leeway=LEEWAY)
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if self._settings.oidc_client_id not in audience:
            raise ValueError("the token is for somebody else")
        return claims

    def _person(self, claims: Mapping[str, Any]) -> Person:
        said = next((claims[field] for field in ("preferred_username", "email", "sub") if claims.get(field)), "")
        name = re.sub(r"[^a-z0-9._@-]", "-", str(said).lower())
        try:
            TypeAdapter(Name).validate_python(name)
        except ValidationError as error:
            raise PolicyRefused(f"{said!r} cannot be a name here", "see console.oidc_issuer in the manual") from error
        if name in RESERVED:
            raise PolicyRefused(f"{name} is a name that the box uses itself", "have another name given there")
        groups = claims.get(self._settings.oidc_groups_claim) or []
        groups = [groups] if isinstance(groups, str) else groups
        mapped = [role for group, role in roles_of(self._settings).items() if group in groups]
        if not mapped:
            raise PolicyRefused(
                f"{name} is in no group that has a role here", "the administrator maps groups by console.oidc_roles"
            )
        best = max(mapped, key=lambda role: role.rank)
        return Person(subject=str(claims["sub"]), name=name, full_name=str(claims.get("name") or "")[:200], role=best)

    def _metadata(self, anew: bool = False) -> tuple[dict[str, Any], KeySet]:
        """What the provider says of itself, and its keys. Raises Unavailable, or ConfigError when it is another's."""
        with self._lock:
            if self._known and not anew and time.monotonic() - self._known[0] < KEPT_SECONDS:
                return self._known[1:]
            try:
                with httpx.Client(verify=self._trust, timeout=SECONDS, trust_env=False) as client:
                    told = client.get(f"{self._issuer}/.well-known/openid-configuration").raise_for_status().json()
                    keys = KeySet.import_key_set(client.get(told["jwks_uri"]).raise_for_status().json())
            except (httpx.HTTPError, ValueError, KeyError, TypeError, JoseError) as error:
                raise self._away(error) from error
            if str(told.get("issuer", "")).rstrip("/") != self._issuer:
                raise ConfigError(
                    f"the identity provider calls itself {told.get('issuer')!r}", "name it so in console.oidc_issuer"
                )
            self._known = (time.monotonic(), told, keys)
            return told, keys

    def _client(self, back: str) -> OAuth2Client:
        return OAuth2Client(
            client_id=self._settings.oidc_client_id, client_secret=self._secret or None, scope=SCOPE,
            redirect_uri=back, code_challenge_method="S256", verify=self._trust, timeout=SECONDS, trust_env=False,
            token_endpoint_auth_method="client_secret_basic" if self._secret else "none",
        )  # fmt: skip

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"the identity provider {self._issuer} does not answer as one ({type(error).__name__})",
            "sign in by password or with the box's token; see console.oidc_issuer and console.oidc_ca_file",
        )


def roles_of(settings: ConsoleSettings) -> dict[str, Role]:
    """Groups of the provider with the role each gives here."""
    pairs = (line.rpartition("=") for line in settings.oidc_roles)
    return {group: Role(role) for group, _, role in pairs}


def _secret(file: str) -> str:
    """Raises ConfigError when it cannot be read, or others may read it."""
    if not file:
        return ""
    path = Path(file)
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{file} can be read by others", f"`chmod 600 {file}`")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"console.oidc_secret_file: {error}", "name a file with the client's secret") from error


def _trust(file: str) -> ssl.SSLContext:
    """The machine's CAs, or the site's own alone. Raises ConfigError."""
    try:
        return ssl.create_default_context(cafile=file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"console.oidc_ca_file: {error}", "name a PEM file with the CA's certificate") from error
