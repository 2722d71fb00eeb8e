"""The certificate of gateway and console for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from control import certificate
from control.desk import desk
from control.gate import person

blueprint = Blueprint("api_certificate", __name__, url_prefix="/api/v1/certificate")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """Names, issuer, days left, and how it stands; 404 where there is none."""
    return jsonify(certificate.the_one(desk()).model_dump(mode="json"))


@blueprint.post("/renew")
def renew() -> ResponseReturnValue:
    """Another one of the box's own CA, with a new key; open connections go on."""
    return jsonify(certificate.renew(desk(), person()).model_dump(mode="json"))
