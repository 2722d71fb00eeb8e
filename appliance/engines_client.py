"""The other end of the engines' door, for the command line, the gateway and the console."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Sequence
from typing import Any

from appliance.config import Home
from appliance.errors import FactoryError, LimitExceeded, Unavailable
from appliance.ports import Clock, Progress, SystemClock
from appliance.sockets import short_name

POLL_SECONDS = 0.1


class EnginesClient:
    """Speaks with the engines process of this home. Every method raises Unavailable when it does not run."""

    def __init__(self, home: Home, timeout: float = 30.0, clock: Clock | None = None) -> None:
        self._home = home
        self._timeout = timeout
        self._clock = clock or SystemClock()

    def healthy(self) -> bool:
        """Whether the engines process answers."""
        try:
            return self._call("GET", "/healthz").get("ok") is True
        except Unavailable:
            return False

    def engines(self) -> list[dict[str, Any]]:
        """The rows of `run/engines.json`, fresh."""
        rows: list[dict[str, Any]] = self._call("GET", "/engines")
        return rows

    def models(self) -> dict[str, Any]:
        """Every model of the box with its `state`, and what cannot be listed; see `Showing.models`."""
        told: dict[str, Any] = self._call("GET", "/models")
        return told

    def show(self, model: str) -> dict[str, Any]:
        """One model's card with its `engine` and what would `fit`; see `Showing.model`. Raises NotFound."""
        told: dict[str, Any] = self._call("POST", "/show", {"model": model})
        return told

    def load(
        self,
        model: str,
        again: bool = False,
        context_tokens: int = 0,
        slots: int = 0,
        pin: bool | None = None,
        keep: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Ask for a model (id or alias) to be served; returns its row at once. All else is as for `Pool.load`."""
        options = {"context_tokens": context_tokens, "slots": slots, "pin": pin, "keep": list(keep)}
        row: dict[str, Any] = self._call("POST", "/load", {"model": model, "again": again, **options})
        return row

    def use(self, models: Sequence[str]) -> None:
        """Say that these models are in use, so that they are not taken for idle."""
        self._call("POST", "/use", {"models": list(models)})

    def unload(self, model: str) -> dict[str, Any]:
        """Ask for a model not to be served any longer. Raises NotFound when it is not loaded."""
        row: dict[str, Any] = self._call("POST", "/unload", {"model": model})
        return row

    def look(self, model: str) -> dict[str, Any]:
        """A loaded model's row with `use` (what its engine takes now) and `log` (its last lines). Raises NotFound."""
        row: dict[str, Any] = self._call("POST", "/look", {"model": model})
        return row

    def wait_ready(self, model: str, seconds: float, progress: Progress | None = None) -> dict[str, Any]:
        """Wait until a loaded model answers; returns its row.

        Raises:
            Unavailable: it failed for good (the reason is in the message) or was unloaded.
            LimitExceeded: not ready in time.
        """
        deadline = self._clock.monotonic() + seconds
        told = ""
        report: Progress = progress or (lambda line: None)  # noqa: ARG005
        while True:
            row = next((row for row in self.engines() if row["model"] == model), None)
            if row is None:
                raise Unavailable(f"the model {model} is not loaded", f"`appliance model load {model}`")
            if row["state"] == "ready":
                return row
            if row["state"] == "failed" and row["next_try"] is None:
                raise Unavailable(f"{model}: {row['reason']}", f"see {self._home.logs / f'engine-{model}.log'}")
            if told != (told := f"{model}: {row['state']} {row['reason']}".rstrip()):
                report(told)
            if self._clock.monotonic() > deadline:
                raise LimitExceeded(
                    f"{model} was not ready after {seconds:g} s ({row['state']})", "wait, or see its log"
                )
            self._clock.sleep(POLL_SECONDS)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = _UnixConnection(self._home, self._timeout)
        try:
            raw = None if body is None else json.dumps(body)
            connection.request(method, path, raw, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(
                f"the engines process of {self._home.root} does not answer ({error})",
                "start the box with `appliance up`",
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise error_from(answer)
        return answer


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, home: Home, timeout: float) -> None:
        super().__init__("engines", timeout=timeout)
        self._path = home.run / "engines.sock"

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short_name(self._path) as name:
            self.sock.connect(name)


def error_from(answer: Any) -> FactoryError:
    """The error the other side raised, as the class it had there."""
    shape = answer.get("error", {}) if isinstance(answer, dict) else {}
    # One that bears its parent's code is read as the parent.
    kinds = {kind.code: kind for kind in _kinds(FactoryError) if "code" in vars(kind)}
    kind = kinds.get(shape.get("code", ""), FactoryError)
    return kind(shape.get("message", "the engines process refused"), shape.get("hint", ""))


def _kinds(kind: type[FactoryError]) -> list[type[FactoryError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in _kinds(child))]
