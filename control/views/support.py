"""The support bundle: made, read, and only then taken away."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from control import support
from control.desk import desk

blueprint = Blueprint("support", __name__, url_prefix="/system/support")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """Every text of the newest bundle, to be read before it leaves."""
    contents, texts = support.made(desk())
    return render_template("support.html", contents=contents, texts=texts, shown=support.SHOWN)


@blueprint.post("")
def make() -> ResponseReturnValue:
    """Make a bundle; takes seconds, for the doctor looks at everything."""
    support.make(desk())
    return redirect(url_for("support.show"), 303)


@blueprint.get("/support.tar.gz")
def download() -> ResponseReturnValue:
    """The newest bundle as a file."""
    support.made(desk())
    headers = {"Content-Disposition": 'attachment; filename="support.tar.gz"', "Cache-Control": "no-store"}
    return Response(support.file_of(desk()).read_bytes(), mimetype="application/gzip", headers=headers)
