"""Why a request was not let in: errors with codes and statuses of their own."""

from __future__ import annotations

import math
from typing import ClassVar

from appliance.errors import Conflict, PolicyRefused


class NotSignedIn(PolicyRefused):
    """No token or session, or not the right one."""

    code = "not_signed_in"


class Changed(Conflict):
    """What was to be changed is no longer what the program read (`If-Match`)."""

    code = "changed"


class WrongSignature(PolicyRefused):
    """A message that its sender did not sign with the repository's secret."""

    code = "wrong_signature"


class ComeLater(PolicyRefused):
    """Refused for so many seconds."""

    message_shown: ClassVar[str]

    def __init__(self, seconds: float) -> None:
        self.seconds = math.ceil(seconds)
        super().__init__(self.message_shown, f"try again in {self.seconds} s")


class TooManyTries(ComeLater):
    """This address, or somebody about this account, keeps presenting what is wrong."""

    code = "too_many_tries"
    message_shown = "too many wrong tokens or passwords"


class TooFast(ComeLater):
    """More messages come for a repository than the settings allow."""

    code = "too_fast"
    message_shown = "more webhooks came for this repository than intake.hooks_per_minute allows"
