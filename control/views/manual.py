"""The manual, offline."""

from __future__ import annotations

from flask import Blueprint, current_app, render_template
from flask.typing import ResponseReturnValue

from control.manual import contents, page, routes_table

blueprint = Blueprint("manual", __name__, url_prefix="/help")


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """The manual's first page."""
    return show("index")


@blueprint.get("/<path:name>")
def show(name: str) -> ResponseReturnValue:
    """One page of the manual."""
    found = page(name, routes_table(current_app))
    return render_template("help.html", page=found, contents=contents())
