"""Models that come in through the API in chunks: as tus 1.0 does it, with the SHA-256 of each chunk."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import UsageError
from control.api.request import body
from control.bringing import import_upload, task_of
from control.desk import desk
from control.gate import person
from control.uploads import CHUNK, ModelOrder, NewUpload, Upload

blueprint = Blueprint("api_uploads", __name__, url_prefix="/api/v1/uploads")

TUS = "1.0.0"
MEDIA = "application/offset+octet-stream"


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Models on their way in, the newest first, with how much of each file is here (bytes)."""
    return jsonify(uploads=[told(one) for one in desk().uploads.every()], chunk_bytes=CHUNK)


@blueprint.post("")
def begin() -> ResponseReturnValue:
    """Make room for a model: `{"files": [{"name", "size_bytes"}], "id", "licence", "tasks", "aliases", "base"}`."""
    made = desk().uploads.begin(NewUpload.model_validate(body()), person())
    answer = jsonify(told(made))
    answer.headers["Location"] = url_for("api_uploads.show", id=made.id)
    return answer, 201


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One model on its way in; `task` imports it once all its files are whole."""
    return jsonify(told(desk().uploads.get(id)))


@blueprint.delete("/<id>")
def remove(id: str) -> ResponseReturnValue:
    """Let go of an upload and of what came of it."""
    desk().uploads.remove(id)
    return jsonify(id=id, removed=True)


@blueprint.get("/<id>/<int:number>")
def look(id: str, number: int) -> ResponseReturnValue:
    """One file of an upload, by its number from 0: how far it came is in `Upload-Offset`, also for HEAD."""
    here = desk().uploads.file(desk().uploads.get(id), number)
    answer = jsonify(here.model_dump(mode="json"))
    answer.headers["Upload-Length"] = str(here.size_bytes)
    return _at(answer, here.offset)


@blueprint.patch("/<id>/<int:number>")
def take(id: str, number: int) -> ResponseReturnValue:
    """Keep a chunk (8 MiB at most) at `Upload-Offset`, with `Upload-Checksum: sha256 …`; the last begins the import."""
    offset = request.headers.get("Upload-Offset", "")
    if not offset.isdecimal() or request.mimetype != MEDIA:
        raise UsageError("this is no chunk of a file", f"send Upload-Offset and Content-Type: {MEDIA}")
    request.max_content_length = CHUNK
    uploads = desk().uploads
    content = request.get_data(cache=False)
    after = uploads.take(id, number, int(offset[:19]), content, request.headers.get("Upload-Checksum", ""))
    answer = _at(Response(status=204), after)
    upload = uploads.get(id)
    if uploads.whole(upload):
        answer.headers["Location"] = url_for("api_tasks.show", id=import_upload(desk(), upload, person()).id)
    return answer


@blueprint.post("/<id>/import")
def again(id: str) -> ResponseReturnValue:
    """Import a whole upload once more, perhaps otherwise: `{"id", "licence", …}`. Answers 202 with the task."""
    order = ModelOrder.model_validate(body())
    return jsonify(import_upload(desk(), desk().uploads.get(id), person(), order).model_dump(mode="json")), 202


def told(upload: Upload) -> dict[str, Any]:
    """An upload as programs see it."""
    task = task_of(desk(), upload)
    files = [one.model_dump(mode="json") for one in desk().uploads.arrived(upload)]
    known = upload.model_dump(mode="json", include={"id", "by", "begun", "order"})
    return {**known, "files": files, "task": task.id if task else "", "size_bytes": upload.size_bytes}


def _at(answer: Response, offset: int) -> Response:
    answer.headers["Upload-Offset"] = str(offset)
    answer.headers["Tus-Resumable"] = TUS
    return answer
