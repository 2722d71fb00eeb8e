"""Where files of Git LFS come from and go to: the batch API of the repository's own server (basic transfer, as its
documents describe it), or the folder that the repository lies in.

Nothing but the repository's own address leads there: what a repository's `.lfsconfig` says is never read, and an answer
that names another host, or a redirect, is refused, for it could lead anywhere in the site's network.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx

from appliance.errors import FactoryError, NotFound, PolicyRefused, Unavailable, UsageError, VerificationFailed
from appliance.mirror.address import Address, ca_file, over_ssh, plain
from appliance.mirror.certificates import trusting
from appliance.mirror.git import PATH, ssh_command
from appliance.mirror.hosts import HOST
from appliance.mirror.lfs import PIECE, Pointer, Store
from appliance.settings import MirrorSettings

KIND = "application/vnd.git-lfs+json"
BATCH = 100
"""Files asked for at once, as most servers take them."""
LARGEST_ANSWER = 4 << 20
SILENCE_SECONDS = 60.0
NOT_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding"})
"""Headers that a server does not get to say for us."""

T = TypeVar("T")


@dataclass(frozen=True)
class Door:
    """A batch API: where it is, the headers that open it, and who asks."""

    client: httpx.Client
    base: httpx.URL
    headers: Mapping[str, str]
    until: float
    """When all of it must be done, by the monotonic clock."""


@dataclass(frozen=True)
class Offer:
    """What the server says of one file: what may be done with it, by name."""

    pointer: Pointer
    actions: Mapping[str, Any]
    refusal: str
    """Why nothing may be done with it; "" where that is not so."""


class LfsServer:
    """The LFS side of one repository's server."""

    def __init__(self, secrets: Path, name: str, address: Address, settings: MirrorSettings) -> None:
        self._address = address
        self._ssh = shlex.split(ssh_command(secrets, name))
        self._ca = ca_file(secrets, name)
        self._seconds = settings.clone_seconds

    def fetch(self, pointers: Sequence[Pointer], store: Store) -> None:
        """Bring these files into the store; those that come stay, whatever becomes of others. Raises FactoryError."""
        if (folder := self._folder()) is not None:
            _each(pointers, lambda pointer: store.copy(pointer, _there(pointer, Store(folder, 0))))
            return
        with self._open("download") as door:
            for start in range(0, len(pointers), BATCH):
                _each(self._offers(door, "download", pointers[start : start + BATCH]),
                      lambda offer: self._get(door, offer, store))  # fmt: skip

    def push(self, pointers: Sequence[Pointer], store: Store) -> None:
        """Give the server those of these files that it lacks. Raises FactoryError when one is not there afterwards."""
        if (folder := self._folder()) is not None:
            for pointer in Store(folder, 0).lacking(pointers):
                Store(folder, 0).copy(pointer, _ours(pointer, store))
            return
        with self._open("upload") as door:
            for start in range(0, len(pointers), BATCH):
                for offer in self._offers(door, "upload", pointers[start : start + BATCH]):
                    if offer.refusal:
                        raise PolicyRefused(
                            f"the LFS server does not take the file {offer.pointer.oid[:12]} {offer.refusal}",
                            "let the box's account write there",
                        )
                    if "upload" in offer.actions:
                        self._put(door, offer, _ours(offer.pointer, store))

    def _folder(self) -> Path | None:
        """Where a repository in a folder has its files, as Git LFS puts them there."""
        url = self._address.url
        if not url.startswith(("/", "file://")):
            return None
        folder = Path(url if url.startswith("/") else unquote(urlsplit(url).path))
        return (folder / ".git" if (folder / ".git").is_dir() else folder) / "lfs" / "objects"

    @contextlib.contextmanager
    def _open(self, operation: str) -> Iterator[Door]:
        base, headers = self._door(operation)
        # trust_env=False: no proxy, and no login from a .netrc
        with httpx.Client(
            verify=trusting(self._ca), trust_env=False, follow_redirects=False, timeout=SILENCE_SECONDS
        ) as client:
            yield Door(client, base, headers, time.monotonic() + self._seconds)

    def _door(self, operation: str) -> tuple[httpx.URL, dict[str, str]]:
        url = self._address.url.rstrip("/")
        if not over_ssh(url):
            login = self._address.authorization
            base = _url(f"{url if url.endswith('.git') else url + '.git'}/info/lfs")
            return base, {"Authorization": login} if login else {}
        said = self._asked_by_ssh(url, operation)
        return self._allowed(str(said.get("href", "")).rstrip("/")), _headers(said)

    def _asked_by_ssh(self, url: str, operation: str) -> dict[str, Any]:
        """What `git-lfs-authenticate` on the server says."""
        user, host, port, path = _over_ssh(url)
        if not HOST.fullmatch(host) or user.startswith("-"):
            raise UsageError(f"{host!r} is not the name of a host", "give the repository's address anew")
        words = [*self._ssh, "-p", str(port), "--", f"{user}@{host}" if user else host]
        command = f"git-lfs-authenticate {shlex.quote(path)} {operation}"
        try:
            done = subprocess.run(
                [*words, command], stdin=subprocess.DEVNULL, capture_output=True, timeout=SILENCE_SECONDS,
                env={"PATH": PATH, "HOME": "/nonexistent"},
            )  # fmt: skip
            said = json.loads(done.stdout[:LARGEST_ANSWER])
        except (OSError, subprocess.TimeoutExpired, ValueError, RecursionError) as error:
            raise Unavailable("the server has no LFS over ssh", "ask its administrator for it, or use http") from error
        return said if isinstance(said, dict) else {}

    def _offers(self, door: Door, operation: str, pointers: Sequence[Pointer]) -> list[Offer]:
        asked = {
            "operation": operation, "transfers": ["basic"], "hash_algo": "sha256",
            "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers],
        }  # fmt: skip
        headers = {**door.headers, "Accept": KIND, "Content-Type": KIND}
        url = _url(f"{door.base}/objects/batch")
        with _answered(door, "POST", url, headers, json.dumps(asked).encode()) as answer:
            said = b"".join(_limited(answer, door.until))
        try:
            told = {str(one["oid"]): one for one in json.loads(said)["objects"]}
            return [_offer(pointer, told[pointer.oid]) for pointer in pointers]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise VerificationFailed("the LFS server's answer makes no sense", "is it a Git LFS server?") from error

    def _get(self, door: Door, offer: Offer, store: Store) -> None:
        if "download" not in offer.actions:
            raise NotFound(
                f"the LFS server has no file {offer.pointer.oid[:12]} {offer.refusal}".rstrip(),
                "push it there: `git lfs push --all origin`",
            )
        url, headers = self._way(offer, "download")
        with _answered(door, "GET", url, {**door.headers, **headers}) as answer:
            store.put(offer.pointer, _pieces(answer, door.until))

    def _put(self, door: Door, offer: Offer, file: Path) -> None:
        url, headers = self._way(offer, "upload")
        kind = {"Content-Type": "application/octet-stream", "Content-Length": str(offer.pointer.size)}
        with file.open("rb") as content:
            pieces = iter(lambda: content.read(PIECE), b"")
            with _answered(door, "PUT", url, {**kind, **door.headers, **headers}, pieces):
                pass
        if "verify" in offer.actions:
            url, headers = self._way(offer, "verify")
            asked = json.dumps({"oid": offer.pointer.oid, "size": offer.pointer.size}).encode()
            kind = {"Accept": KIND, "Content-Type": KIND}
            with _answered(door, "POST", url, {**kind, **door.headers, **headers}, asked):
                pass

    def _way(self, offer: Offer, action: str) -> tuple[httpx.URL, dict[str, str]]:
        """Where an action leads, and its headers."""
        said = offer.actions[action] if isinstance(offer.actions[action], dict) else {}
        return self._allowed(str(said.get("href", ""))), _headers(said)

    def _allowed(self, href: str) -> httpx.URL:
        """An address on the repository's own server. Raises PolicyRefused for all others."""
        url, own = _url(href), self._address.url
        if over_ssh(own):
            same = url.host.lower() == _over_ssh(own)[1].lower()
        else:
            same = (url.scheme, url.host, url.port) == (_url(own).scheme, _url(own).host, _url(own).port)
        if url.scheme not in ("http", "https") or url.userinfo or not same:
            raise PolicyRefused(
                f"LFS files are said to be at {url.scheme}://{url.host[:100]}, which is not the repository's server",
                "let its LFS files be served from there, or give the repository's address as its server names itself",
            )
        return url


def _offer(pointer: Pointer, said: Mapping[str, Any]) -> Offer:
    """One file of an answer. Raises as what is no such answer does."""
    wrong = said.get("error")
    refusal = f"({int(wrong.get('code', 0))}: {plain(str(wrong.get('message', '')))})" if wrong else ""
    return Offer(pointer, dict(said.get("actions") or {}), refusal)


def _each(things: Iterable[T], bring: Callable[[T], None]) -> None:
    """Bring each of them; what is missing or not what it should be is told once the others are here."""
    wrong: list[FactoryError] = []
    for thing in things:
        try:
            bring(thing)
        except (NotFound, VerificationFailed) as error:
            wrong.append(error)
    if wrong:
        raise wrong[0]


def _there(pointer: Pointer, folder: Store) -> Path:
    if not folder.file(pointer).is_file():
        raise NotFound(
            f"the LFS file {pointer.oid[:12]} is not beside the repository",
            "push it there: `git lfs push --all origin`",
        )
    return folder.file(pointer)


def _ours(pointer: Pointer, store: Store) -> Path:
    if not store.file(pointer).exists():
        raise PolicyRefused(
            f"the LFS file {pointer.oid[:12]} is neither here nor on the server", "push it there: `git lfs push`"
        )
    return store.file(pointer)


def _headers(said: Mapping[str, Any]) -> dict[str, str]:
    given = said.get("header")
    known = given.items() if isinstance(given, dict) else ()
    return {str(name): str(value) for name, value in known if str(name).lower() not in NOT_OURS}


def _url(text: str) -> httpx.URL:
    """The same reading of an address for the decision and for the call."""
    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise PolicyRefused("the LFS server's answer names no address", "is it a Git LFS server?") from error


def _over_ssh(url: str) -> tuple[str, str, int, str]:
    """User, host, port and path of an ssh address."""
    if "://" in url:
        parts = urlsplit(url)
        return parts.username or "", parts.hostname or "", parts.port or 22, unquote(parts.path)
    where, _, path = url.partition(":")
    user, _, host = where.rpartition("@")
    return user, host, 22, path


@contextlib.contextmanager
def _answered(
    door: Door, verb: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | Iterable[bytes] | None = None
) -> Iterator[httpx.Response]:
    """An answer whose body is still to come. Raises FactoryError for all that is no success."""
    try:
        asked = door.client.build_request(
            verb, url, headers={"Accept-Encoding": "identity", **headers}, content=content
        )
        answer = door.client.send(asked, stream=True)
        try:
            if answer.status_code in (401, 403):
                raise Unavailable("the LFS server does not let the box in", "its login is that of the repository")
            if answer.has_redirect_location:
                raise PolicyRefused(
                    "the LFS server sends the box to another address, which is not followed",
                    "let it serve its files itself",
                )
            if not answer.is_success:
                raise Unavailable(f"the LFS server answers {answer.status_code}", "has it Git LFS, and is it up?")
            yield answer
        finally:
            answer.close()
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        raise Unavailable(f"the LFS server does not answer: {type(error).__name__}", "is it up?") from error


def _limited(answer: httpx.Response, until: float) -> Iterator[bytes]:
    size = 0
    for piece in _pieces(answer, until):
        size += len(piece)
        if size > LARGEST_ANSWER:
            raise VerificationFailed("the LFS server's answer is too long", "is it a Git LFS server?")
        yield piece


def _pieces(answer: httpx.Response, until: float) -> Iterator[bytes]:
    for piece in answer.iter_raw():
        if time.monotonic() > until:
            raise Unavailable("the LFS files took longer than mirror.clone_seconds", "they go on at the next fetch")
        yield piece
