"""Bringing a model: from this browser in chunks, or from a path on the machine."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from control.bringing import ModelAt, import_path, import_upload, task_of
from control.desk import desk
from control.gate import person
from control.uploads import CHUNK, ModelOrder

blueprint = Blueprint("uploads", __name__, url_prefix="/uploads")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Bring a model: choose files, or name a path; what is on its way, and what its import came to."""
    here = desk()
    rows = [(one, here.uploads.arrived(one), task_of(here, one)) for one in here.uploads.every()]
    return render_template("uploads.html", rows=rows, chunk=CHUNK, settings=here.settings.console)


@blueprint.post("")
def import_from() -> ResponseReturnValue:
    """Import a model that lies on the machine, from a path there."""
    asked = ModelAt(path=request.form.get("path", "").strip(), **_order(ModelOrder))
    return redirect(url_for("tasks.show", id=import_path(desk(), asked, person()).id), 303)


@blueprint.post("/<id>/import")
def again(id: str) -> ResponseReturnValue:
    """Import a whole upload once more, perhaps by another name."""
    upload = desk().uploads.get(id)
    order = upload.order.with_(**{key: value for key, value in _order(ModelOrder).items() if value})
    return redirect(url_for("tasks.show", id=import_upload(desk(), upload, person(), order).id), 303)


@blueprint.post("/<id>/remove")
def remove(id: str) -> ResponseReturnValue:
    """Let go of an upload and of what came of it."""
    desk().uploads.remove(id)
    flash("It is removed.")
    return redirect(url_for("uploads.index"), 303)


def _order(kind: type[ModelOrder]) -> dict[str, str]:
    texts = [name for name, field in kind.model_fields.items() if field.annotation is str]
    return {name: request.form.get(name, "").strip() for name in texts}
