"""How much of a request is here: its head, its body as long as it says or in chunks, and until when the rest may come.

Pure: bytes and times go in. It finds where a request ends and no more; whether it is well formed, gunicorn's parser
says, which gets what came. So what makes no sense here counts as complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HEAD_SECONDS = 10.0
"""Until the head is here, from its first byte on."""
WHOLE_SECONDS = 60.0
"""Until all is here."""
SILENT_SECONDS = 10.0
"""Between two pieces of a body."""

LONGEST_HEAD = 64 * 1024
LONGEST_LINE = 8192
"""Of the line before a chunk."""
MARGIN = 2 * 1024 * 1024
"""More than the largest body that is gathered of one in chunks: whoever reads it must see that it is too large."""

END = b"\r\n\r\n"
FRAMING = re.compile(rb"(?im)^(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)")
SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")


class Arriving:
    """One request on its way. Times are seconds of one clock. `most` tells, of a request's head, how large a body is
    gathered, in bytes; `idle` is how long the first byte may take."""

    def __init__(self, most: Callable[[bytes], int], now: float, idle: float) -> None:
        self._most = most
        self._content = bytearray()
        self._first = self._last = now
        self._idle = idle
        self._body = 0
        """Where the body begins; 0 while the head is not whole."""
        self._most_bytes = 0
        self._length = 0
        self._chunk = 0
        """Where the next chunk begins; 0 for a body of known length."""
        self.ready = False
        """Nothing more has to be waited for."""
        self.whole = False
        """All of the request is here; else it is too large, or ends before its end."""
        self.head_too_long = False
        self.waits_for_word = False
        """Its sender sends the body once it is told to go on."""

    @property
    def size(self) -> int:
        """Bytes that came."""
        return len(self._content)

    @property
    def content(self) -> bytes:
        """What came."""
        return bytes(self._content)

    @property
    def until(self) -> float:
        """When it is no longer waited for."""
        if not self._content:
            return self._first + self._idle
        if not self._body:
            return self._first + HEAD_SECONDS
        return min(self._first + WHOLE_SECONDS, self._last + SILENT_SECONDS)

    def take(self, piece: bytes, now: float) -> None:
        """More of it came."""
        if not self._content:
            piece = piece.lstrip(b"\r\n")  # some clients send an empty line after a body
            self._first = now
        self._last = now
        searched = max(0, len(self._content) - len(END) + 1)
        self._content += piece
        if not self._body:
            at = self._content.find(END, searched)
            if at < 0:
                self.head_too_long = len(self._content) > LONGEST_HEAD
                return
            self._begin_body(at + len(END))
        if not self.ready:
            self._look_at_body()

    def end(self) -> None:
        """Nothing more comes."""
        self.ready = True

    def go_on(self) -> None:
        """Its sender was told."""
        self.waits_for_word = False

    def _begin_body(self, at: int) -> None:
        self._body = at
        head = bytes(self._content[:at])
        told = {name.lower(): value.strip().lower() for name, value in FRAMING.findall(head)}
        self._most_bytes = self._most(head)
        length = told.get(b"content-length", b"")
        if b"chunked" in told.get(b"transfer-encoding", b""):
            self._chunk = at
        elif length.isdigit():
            self._length = int(length[:20])
            if self._length > self._most_bytes:  # told to the sender before it has sent it all
                self.ready = True
                return
        self._look_at_body()
        self.waits_for_word = not self.ready and told.get(b"expect") == b"100-continue"

    def _look_at_body(self) -> None:
        if self._chunk:
            self._walk()
        elif len(self._content) - self._body >= self._length:
            self._complete()

    def _complete(self) -> None:
        self.ready = self.whole = True

    def _walk(self) -> None:
        """Go from chunk to chunk as far as they are here."""
        content = self._content
        while not self.ready:
            line_end = content.find(b"\r\n", self._chunk, self._chunk + LONGEST_LINE)
            if line_end < 0:
                if len(content) - self._chunk >= LONGEST_LINE:
                    self._complete()
                break
            size = SIZE.fullmatch(bytes(content[self._chunk : line_end]).partition(b";")[0].rstrip())
            if size is None:
                self._complete()
            elif int(size[0], 16) == 0:
                self._look_at_trailer(line_end + 2)
                break
            else:
                after = line_end + 2 + int(size[0], 16) + 2
                if after > len(content):
                    break
                self._chunk = after
        if not self.ready and len(content) - self._body > self._most_bytes + MARGIN:
            self.ready = True

    def _look_at_trailer(self, at: int) -> None:
        plain = self._content[at : at + 2] == b"\r\n"
        if plain or self._content.find(END, at) >= 0 or len(self._content) - at > LONGEST_HEAD:
            self._complete()
