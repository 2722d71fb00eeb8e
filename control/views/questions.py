"""SQL over the learning store: one SELECT, read-only and cut off in time; the answer as a table or a file."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from appliance.errors import FactoryError
from appliance.learning.client import LearningClient
from appliance.learning.queries import QUERIES
from appliance.learning.tables import TABLES
from control.desk import desk
from control.gate import http_status
from control.questions import EXAMPLES, as_csv, parameters, question

blueprint = Blueprint("questions", __name__, url_prefix="/learning/query")

SHOWN = 200
"""Rows on the page; the file has more."""
MOST = 100_000
"""Rows of a file."""


@blueprint.get("")
def ask() -> ResponseReturnValue:
    """A box for one SELECT, with all tables and columns; `?question=` puts a figure's own question into it."""
    name = request.args.get("question", "")
    sql = (
        question(name, **parameters(name, request.args)).sql if name else EXAMPLES.get(request.args.get("example", ""))
    )
    return _page(sql or "")


@blueprint.post("")
def answer() -> ResponseReturnValue:
    """The first rows of the answer to one SELECT."""
    sql = request.form.get("sql", "")
    try:
        found = LearningClient(desk().home).look(sql, SHOWN)
    except FactoryError as error:
        return _page(sql, problem=error), http_status(error)
    return _page(sql, found)


@blueprint.post("/csv")
def download() -> ResponseReturnValue:
    """The answer to one SELECT as comma-separated values, up to 100,000 rows."""
    sql = request.form.get("sql", "")
    try:
        found = LearningClient(desk().home, timeout=60).look(sql, MOST)
    except FactoryError as error:
        return _page(sql, problem=error), http_status(error)
    headers = {"Content-Disposition": 'attachment; filename="answer.csv"'}
    return Response(as_csv(found), mimetype="text/csv", headers=headers)


def _page(sql: str, found: dict[str, Any] | None = None, problem: FactoryError | None = None) -> str:
    return render_template(
        "questions.html", sql=sql, found=found, problem=problem, shown=SHOWN, most=MOST, tables=TABLES,
        examples=EXAMPLES, questions=QUERIES,
    )  # fmt: skip
