"""The body of a request, whole or not at all."""

from __future__ import annotations

from flask import abort, request
from werkzeug.exceptions import RequestEntityTooLarge

from appliance.errors import LimitExceeded
from appliance.settings import IntakeSettings


def whole_body(settings: IntakeSettings) -> bytes:
    """All that the sender has to say. Raises LimitExceeded.

    Read without a known length, a body is cut at the limit without a word, and a sender that hangs up leaves a part.
    Such a part must not be taken for the whole: where a token stands for the signature, it would pass.
    """
    most = settings.max_mb * 1024 * 1024
    request.max_content_length = most + 1
    try:
        body = request.get_data(cache=False)
        if len(body) > most:
            raise RequestEntityTooLarge
    except RequestEntityTooLarge as error:
        raise LimitExceeded("the message is too large", f"intake.max_mb allows {settings.max_mb} MiB") from error
    if request.content_length not in (None, len(body)):
        abort(400, "the message ends before its end")
    return body
