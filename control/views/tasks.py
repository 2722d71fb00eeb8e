"""Tasks: what the box does that takes long, with its log and its end."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from control.desk import desk
from control.gate import person
from control.own_command import typed

blueprint = Blueprint("tasks", __name__, url_prefix="/tasks")

SHOWN = 50


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Imports and clones under way, and those that ended."""
    tasks = desk().tasks.every()[:SHOWN]
    return render_template("tasks.html", tasks=tasks, going=any(one.under_way for one in tasks))


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One task: how far it is, what it says, how it ended, and the command."""
    task = desk().tasks.get(id)
    return render_template("task.html", task=task, log=desk().tasks.log(id), command=typed(*task.words))


@blueprint.post("/<id>/stop")
def stop(id: str) -> ResponseReturnValue:
    """End a task's command."""
    task = desk().tasks.stop(id)
    flash(f"{task.name} is being stopped.")
    return redirect(url_for("tasks.show", id=id), 303)


@blueprint.post("/<id>/again")
def again(id: str) -> ResponseReturnValue:
    """Ask once more for what failed or was stopped."""
    return redirect(url_for("tasks.show", id=desk().tasks.again(id, person()).id), 303)
