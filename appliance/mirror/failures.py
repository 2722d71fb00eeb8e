"""What git says when it fails, as errors with a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable, UsageError
from appliance.mirror.address import PROTOCOLS, redact

UNTRUSTED = "the server's certificate is not trusted"

FAILURES: tuple[tuple[str, type[FactoryError], str, str], ...] = (
    (r"No space left on device|Disk quota exceeded", Unavailable, "the disk is full", "free space on that disk"),
    (r"dubious ownership", Unavailable, "the repository's folder belongs to another user",
     "serve it by ssh or http, or let the box's user own it"),
    (r"unpacker error|unable to (create|migrate)|failed to (write|store)|Read-only file system", Unavailable,
     "the files cannot be written", "look at disk space and permissions there"),
    (r"(error:|HTTP) 41[13]", PolicyRefused, "the push is longer than the server takes",
     "let its administrator raise the limit (nginx: client_max_body_size), and of every proxy before it"),
    (r"FATAL: R any .* DENIED by", Unavailable, "the server does not let the box read there, or has no such repository",
     "let its administrator give the box's key the right to read and write (gitolite: RW), and check the name"),
    (r"FATAL: [WC+].* DENIED by", PolicyRefused, "the server does not let the box's key write there",
     "let its administrator give it that right (gitolite: RW), or land the change by hand"),
    (r"hook declined|protected branch|GL-HOOK-ERR|prohibited|denying|deny updating|not allowed to push"
     r"|branch is currently checked out|you are not allowed|insufficient permission",
     PolicyRefused, "the server refuses the push", "let the box's account push there, or land the change by hand"),
    (r"non-fast-forward|fetch first|stale info|cannot lock ref|incorrect old value|failed to update ref"
     r"|reference already exists|failed to lock",
     Conflict, "the branch moved on the server", "the box tries again from a fresh base"),
    (r"\[remote rejected\]", PolicyRefused, "the server refuses the push",
     "let the box's account push there, or land the change by hand"),
    (r"Authentication failed|Permission denied|could not read (Username|Password)|returned error: 40[13]"
     r"|terminal prompts disabled|unable to read askpass", Unavailable, "the server does not let the box in",
     "ssh: add what `appliance repo key NAME` prints on the server; http: give a token that may read and write"),
    (r"HOST IDENTIFICATION HAS CHANGED", Unavailable, "the server shows another host key than the one pinned",
     "ask its administrator; if the change is meant, `appliance repo trust HOST` with the new fingerprint"),
    (r"Host key verification failed", Unavailable, "the server's host key is not pinned",
     "compare its fingerprint with the administrator's: `appliance repo trust HOST`"),
    (r"certificate|SSL|GnuTLS|gnutls", Unavailable, UNTRUSTED,
     "give the CA that signed it: `appliance repo add --ca FILE`, and an address with the name in the certificate"),
    (r"returned error: 30\d|redirect", Unavailable,
     "the server sends the box to another address, which is not followed",
     "give the address that the server sends it to, if you trust it"),
    (r"transport '.*' not allowed|is not allowed|strange (hostname|pathname|port)", UsageError,
     "this kind of address is not allowed", f"use one of: {', '.join(PROTOCOLS)}"),
    (r"cannot run ssh", Unavailable, "ssh is not installed", "apt-get install openssh-client"),
    (r"returned error: 404|[Rr]epository .*not found|does not appear to be a git repository|not a git repository"
     r"|not valid: is this a git repository|repository '.*' does not exist",
     NotFound, "there is no repository at that address", "check the address"),
    (r"Could not resolve host|Connection (refused|timed out|reset|closed)|unable to access|RPC failed|timed out"
     r"|No route to host|early EOF|hung up|Network is unreachable|unable to connect|Couldn't connect|returned error: 5"
     r"|Temporary failure in name resolution|transfer closed|Operation too slow",
     Unavailable, "the server does not answer", "is it up, and reachable from this box?"),
    (r"CONFLICT|could not apply|patch does not apply|Merge conflict|unrelated histories", Conflict,
     "the change does not fit", "it is planned again from today's branch"),
)  # fmt: skip
"""What git says (pattern) → which error, what failed and what to do; the first that matches counts."""


UNREADABLE = re.compile(
    r"corrupt|inflate|hash mismatch|bad (object|tree)|missing (blob|tree|commit)|unable to (read|unpack)|is empty"
    r"|could not read|not a valid|early EOF|packfile|No such file",
    re.IGNORECASE,
)
"""What git says of a repository in which something cannot be read; other things make it say so, too."""


@contextmanager
def fetching(name: str, url: str) -> Iterator[None]:
    """What goes wrong while a mirror fetches, as its reader has to know it: which address, and whose files."""
    try:
        yield
    except NotFound as error:
        raise NotFound(f"{redact(url)}: {error.message}", error.hint) from error
    except Conflict as error:
        raise Unavailable(f"the mirror of {name} could not be written: {error.message}", "try again") from error


def in_words(verb: str, said: str) -> FactoryError:
    """Git's failure as an error with a remedy; addresses are shown without their credentials."""
    clean = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]", " ", redact(said.replace("\r", "\n")))
    lines = [line for line in clean.splitlines() if line.strip() and not line.startswith("hint:")]
    telling = (
        [line for line in lines if line.startswith("ssh: ")]  # the cause; git adds only that it could not read
        or [line for line in lines if re.search(r"fatal|error|rejected|remote:|CONFLICT", line)]
        or lines[-1:]
    )
    words = " / ".join(" ".join(line.split()) for line in telling[:3])[:400]
    for pattern, kind, what, hint in FAILURES:
        if re.search(pattern, clean):
            return kind(f"{what}: {words}", hint)
    return FactoryError(f"git {verb} failed: {words}", "`appliance doctor` checks git and every repository")
