"""The certificate of gateway and console: who issued it, for which names, how long it is valid; the root to take."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from appliance.certificates.reading import MAKER
from control import certificate
from control.desk import desk
from control.gate import person

blueprint = Blueprint("certificate", __name__, url_prefix="/certificate")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """The certificate, how it stands, and how clients come to trust it."""
    here = desk()
    return render_template(
        "certificate.html", kept=certificate.served(here), concern=certificate.concern(here), makers=MAKER,
        root=certificate.hands_out_root(here), days=here.settings.certificate.renew_days,
    )  # fmt: skip


@blueprint.get("/root.pem")
def root() -> ResponseReturnValue:
    """The root that clients have to trust, for everybody: it is public."""
    return Response(
        certificate.root(desk()), content_type="application/x-pem-file",
        headers={"Content-Disposition": 'attachment; filename="appliance-root.pem"'},
    )  # fmt: skip


@blueprint.post("/renew")
def renew() -> ResponseReturnValue:
    """Another one of the box's own CA, with a new key; open connections go on."""
    certificate.renew(desk(), person())
    return redirect(url_for("certificate.show"), 303)
