"""The OpenAPI document of the API and of the hooks, made from the routes there are and the nouns they answer with.

Paths, methods and summaries are the routes' own. What goes in and comes out of each is told here; a test holds it
against real answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Flask, current_app, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from appliance import __version__
from appliance.by_hand import Editable, PlanEdit
from appliance.certificates.showing import Shown
from appliance.ledger.audit import Verification
from appliance.ledger.chain import Recorded
from appliance.lesson import Effect, Lesson, LessonState, Use
from appliance.limits import Limit, LimitChange
from appliance.news import Delivery, DeliveryState
from appliance.user import AccessToken, Session, User
from appliance.work import Kind, MirrorHealth, Signal, State, TrackedRepository, WorkItem
from control.accounts import NewToken, NewUser, UserChange
from control.api.by_hand import NewPlan
from control.api.guide import GuideMark
from control.api.items import SHORT, NewCommand
from control.api.learning import FreeQuestion, RollBack
from control.api.lessons import LessonChange, LessonMove, NewLesson
from control.api.models import LoadOrder
from control.api.policy import NewLimits
from control.api.repositories import PolicyChange
from control.api.request import MOST_ROWS
from control.api.router import ChangedRules, NewRules
from control.api.signals import Duplicate, NoDuplicate
from control.api.uploads import MEDIA
from control.backups import Backups
from control.bringing import ModelAt, NewRepository
from control.decisions import Decision
from control.guide import Guide
from control.health import Part
from control.inbox import STATES as SIGNAL_STATES
from control.inbox import Question, Received
from control.intake import NewSignal
from control.learned_policy import Version
from control.questions import GROUPS
from control.system import Finding, Log, Machine, Setting
from control.tasks import Task
from control.uploads import Arrived, ModelOrder, NewUpload

Schema = dict[str, Any]

blueprint = Blueprint("api_openapi", __name__, url_prefix="/api/v1")

TOLD = ("/api/v1/", "/hooks/")
"""Paths that are in the document."""
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
WHEN: Schema = {"type": "string", "format": "date-time"}
ANY: Schema = {"type": "object"}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": 100}
NOUNS: tuple[type[BaseModel], ...] = (
    WorkItem, Signal, TrackedRepository, MirrorHealth, Delivery, Part, Lesson, Use, Effect, User, Session, AccessToken,
    Decision, Editable, PlanEdit, Question, Received, Recorded, Verification, Machine, Setting, Finding, Log, Version,
    Task, Arrived, Limit, LimitChange, Backups, Guide, Shown,
)  # fmt: skip
ASKED: tuple[type[BaseModel], ...] = (
    NewSignal, NewCommand, NewLesson, LessonChange, LessonMove, NewUser, UserChange, NewToken, LoadOrder, ChangedRules,
    NewRules, NewPlan, Duplicate, NoDuplicate, FreeQuestion, RollBack, PolicyChange, ModelAt, ModelOrder, NewUpload,
    NewRepository, NewLimits, GuideMark,
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """What a route takes and gives."""

    answers: Mapping[int, Schema]
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: tuple[str, Schema] | None = None
    """Media type and what it holds."""
    gives: str = "application/json"
    """Media type of the answer."""
    matched: bool = False
    """Changes something only while it is as it was read, where `If-Match` says so."""
    streamed: bool = False
    """Told line by line as it is read, without an ETag."""
    signed: bool = False
    """Let in by the sender's signature, not by the console's token."""


def ref(name: str) -> Schema:
    """A schema of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(schema: Schema) -> Schema:
    """Any number of these."""
    return {"type": "array", "items": schema}


def made_of(**properties: Schema) -> Schema:
    """An object with all of these fields."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def both(name: str, **more: Schema) -> Schema:
    """A noun with some fields beside its own."""
    return {"allOf": [ref(name), made_of(**more)]}


ITEM = both("WorkItem", events=listed(ANY), commands=listed(TEXT))
HEARD = both("Signal", item=TEXT, state={"type": ["string", "null"]}, severity=NUMBER, duplicate_of=TEXT)
HEARD_WHOLE = both(
    "Signal", item=TEXT, carried_by=TEXT, duplicates=listed(HEARD), questions=listed(ref("Question")),
    received=ref("Received"),
)  # fmt: skip
INBOX: Mapping[str, Schema] = {
    "kind": {"type": "string", "enum": list(Kind)}, "severity": {"type": "integer", "minimum": 1, "maximum": 4},
    "state": {"type": "string", "enum": list(SIGNAL_STATES)},
    "source": TEXT, "q": TEXT, "since": {"type": "string", "format": "date"},
    "until": {"type": "string", "format": "date"},
}  # fmt: skip
NOTED = made_of(number=NUMBER, item=TEXT)
PLAN = made_of(plan=ref("Editable"), base=TEXT, changed_by=TEXT, changes=listed(both("PlanEdit", at=WHEN, by=TEXT)))
REPOSITORY = both(
    "TrackedRepository",
    mirror=both("MirrorHealth", lag_seconds={"type": ["number", "null"], "description": "seconds"}),
)
LESSON = both(
    "Lesson", uses=listed(ref("Use")), effect=both("Effect", in_words=TEXT),
    history=listed(
        made_of(event=NUMBER, at=WHEN, what=TEXT, before=TEXT, by=TEXT, why=TEXT, text=TEXT, evidence=listed(ANY))
    ),
)  # fmt: skip
PERSON = both("User", sessions=listed(ref("Session")), tokens=listed(ref("AccessToken")))
MESSAGE = both("Delivery", told=listed(ANY), problem=TEXT, raw=TEXT, raw_kept=FLAG, raw_cut=FLAG)
STATUS = made_of(
    version=TEXT, well=FLAG, problems=listed(TEXT), items={"type": "object", "additionalProperties": NUMBER},
    events=NUMBER, processes=listed(ref("Part")), engines=listed(ref("Part")),
)  # fmt: skip
REFUSALS = made_of(since=WHEN, counts=listed(made_of(repo=TEXT, reason=TEXT, count=NUMBER, last=WHEN)))
PLACE = made_of(line=NUMBER, signal=TEXT)
TABLE = made_of(
    encoding=TEXT, delimiter=TEXT, columns=listed(TEXT), new=NUMBER, filed=listed(PLACE), known=listed(PLACE),
    bad=listed(made_of(line=NUMBER, why=TEXT)), over=NUMBER, repeated=NUMBER,
)  # fmt: skip
TAKEN = made_of(delivery=NUMBER, seen_already=FLAG)
TAKEN_FOR_ALL = made_of(deliveries=listed(made_of(repository=TEXT, delivery=NUMBER, seen_already=FLAG)))
BEFORE: Schema = {"type": "integer", "minimum": 0, "default": 0}
ONE_OF_REPOSITORIES: Mapping[str, Schema] = {"repo": TEXT, "limit": LIMIT, "before": BEFORE}
TRAIL: Mapping[str, Schema] = {
    "kind": TEXT, "subject": TEXT, "person": TEXT, "words": TEXT, "since": WHEN, "until": WHEN,
}  # fmt: skip
NARROWED: Mapping[str, Schema] = {"repo": TEXT, "days": {"type": "integer", "minimum": 0, "default": 0}, "limit": LIMIT}
BY: Mapping[str, Schema] = {"by": {"type": "string", "enum": list(GROUPS)}}
FIGURES = made_of(
    by=TEXT,
    repo=TEXT,
    days=NUMBER,
    autonomy=listed(ANY),
    review_precision=listed(ANY),
    costs=listed(ANY),
    questions={"type": "object"},
)
REPORT = made_of(
    policy=NUMBER,
    rules=listed(ANY),
    prospects=listed(ANY),
    saved=listed(ANY),
    costs=listed(ANY),
    search=ANY,
    lessons=ANY,
    words=listed(TEXT),
)
RUN = made_of(
    repo=TEXT, run=NUMBER, begun=TEXT, ended=FLAG, words=TEXT, why=TEXT, planned=NUMBER, contenders=listed(ANY)
)
JSON = "application/json"
UPLOAD = made_of(
    id=TEXT, by=TEXT, begun=WHEN, order=ref("ModelOrder"), files=listed(ref("Arrived")), task=TEXT, size_bytes=NUMBER
)

CALLS: Mapping[str, Call] = {
    "api_openapi.show": Call({200: ANY}),
    "api_status.show": Call({200: STATUS}),
    "api_items.index": Call(
        {200: made_of(items=listed(ref("ItemInShort")), next=TEXT)},
        {"state": {"type": "string", "enum": [str(state) for state in State]}, **ONE_OF_REPOSITORIES},
    ),
    "api_items.show": Call({200: ITEM}),
    "api_items.evidence": Call({200: made_of(evidence=listed(made_of(file=TEXT, sha256=TEXT)))}),
    "api_items.evidence_file": Call({200: ANY}),
    "api_items.give": Call({202: made_of(number=NUMBER, item=TEXT)}, body=(JSON, ref("NewCommand")), matched=True),
    "api_by_hand.plan": Call({200: PLAN}),
    "api_by_hand.change_plan": Call({202: NOTED}, body=(JSON, ref("NewPlan")), matched=True),
    "api_by_hand.hand_in": Call(
        {202: made_of(number=NUMBER, item=TEXT, base=TEXT, files=listed(TEXT))},
        {"author": TEXT, "message": TEXT, "why": TEXT},
        body=("text/x-diff", TEXT),
    ),
    "api_signals.index": Call({200: made_of(signals=listed(HEARD), next=TEXT)}, {**INBOX, **ONE_OF_REPOSITORIES}),
    "api_signals.show": Call({200: HEARD_WHOLE}),
    "api_signals.file": Call({201: HEARD_WHOLE}, body=(JSON, ref("NewSignal"))),
    "api_signals.merge": Call({202: NOTED}, body=(JSON, ref("Duplicate"))),
    "api_signals.split": Call({202: NOTED}, body=(JSON, ref("NoDuplicate"))),
    "api_signals.take_table": Call(
        {200: TABLE, 201: TABLE},
        {"repo": TEXT, "mapping": listed(TEXT), "dry_run": FLAG, "skip_bad": FLAG, "encoding": TEXT, "delimiter": TEXT,
         "keys": TEXT},
        body=("text/csv", TEXT),
    ),
    "api_repositories.index": Call({200: made_of(repositories=listed(REPOSITORY))}),
    "api_repositories.add": Call({202: ref("Task")}, body=(JSON, ref("NewRepository"))),
    "api_repositories.show": Call({200: REPOSITORY}),
    "api_repositories.change": Call({200: REPOSITORY}, body=(JSON, ref("PolicyChange"))),
    "api_decisions.index": Call(
        {200: made_of(decisions=listed(ref("Decision")), next=TEXT)},
        {**NARROWED, "before": BEFORE, "item": TEXT, "rule": TEXT, "chosen": TEXT, "source": TEXT},
    ),
    "api_deliveries.index": Call(
        {200: made_of(deliveries=listed(ref("Delivery")), turned_away=REFUSALS, next=TEXT)},
        {"state": {"type": "string", "enum": [str(state) for state in DeliveryState]}, **ONE_OF_REPOSITORIES},
    ),
    "api_deliveries.show": Call({200: MESSAGE}),
    "api_deliveries.replay": Call({202: ref("Delivery")}),
    "api_lessons.index": Call(
        {200: made_of(lessons=listed(ref("Lesson")), next=TEXT)},
        {"state": {"type": "string", "enum": [str(state) for state in LessonState]}, **ONE_OF_REPOSITORIES},
    ),
    "api_lessons.show": Call({200: LESSON}),
    "api_lessons.add": Call({201: ref("Lesson")}, body=(JSON, ref("NewLesson"))),
    "api_lessons.edit": Call({200: ref("Lesson")}, body=(JSON, ref("LessonChange")), matched=True),
    "api_lessons.move": Call({200: ref("Lesson")}, body=(JSON, ref("LessonMove")), matched=True),
    "api_learning.show": Call({200: ANY}),
    "api_learning.figures": Call({200: FIGURES}, {**BY, **NARROWED}),
    "api_learning.report": Call({200: REPORT}),
    "api_learning.frictions": Call({200: made_of(frictions=listed(ANY))}, NARROWED),
    "api_learning.replays": Call({200: made_of(runs=listed(RUN))}, NARROWED),
    "api_learning.policies": Call({200: made_of(current=NUMBER, versions=listed(ref("Version")))}, {"limit": LIMIT}),
    "api_learning.policy": Call({200: ref("Version")}),
    "api_learning.promote": Call({200: made_of(current=NUMBER)}),
    "api_learning.take_back": Call({200: made_of(current=NUMBER)}, body=(JSON, ref("RollBack"))),
    "api_learning.questions": Call({200: made_of(questions=listed(ANY))}),
    "api_learning.answer": Call({200: made_of(sql=TEXT, rows=listed(ANY), more=FLAG)}, {"limit": LIMIT}),
    "api_learning.tables": Call({200: made_of(tables=ANY)}),
    "api_learning.ask": Call(
        {200: made_of(columns=listed(TEXT), rows=listed({"type": "array"}), more=FLAG)},
        body=(JSON, ref("FreeQuestion")),
    ),
    "api_me.show_own": Call({200: made_of(name=TEXT, role=TEXT, scopes=listed(TEXT))}),
    "api_me.tokens": Call({200: made_of(tokens=listed(ref("AccessToken")))}),
    "api_me.add_token": Call({201: both("AccessToken", token=TEXT)}, body=(JSON, ref("NewToken"))),
    "api_me.revoke_token": Call({200: ref("AccessToken")}),
    "api_users.index": Call({200: made_of(users=listed(ref("User")))}),
    "api_users.add": Call({201: both("User", password=TEXT)}, body=(JSON, ref("NewUser"))),
    "api_users.show": Call({200: PERSON}),
    "api_users.change": Call({200: PERSON}, body=(JSON, ref("UserChange")), matched=True),
    "api_users.password": Call({200: both("User", password=TEXT)}),
    "api_users.end_session": Call({200: ref("Session")}),
    "api_audit.index": Call(
        {200: made_of(events=listed(ref("Recorded")), next=TEXT)}, {**TRAIL, "before": BEFORE, "limit": LIMIT}
    ),
    "api_audit.verify": Call({200: ref("Verification")}),
    "api_audit.export": Call({200: TEXT}, TRAIL, gives="application/jsonl", streamed=True),
    "api_certificate.show": Call({200: ref("Shown")}),
    "api_certificate.renew": Call({200: ref("Shown")}),
    "api_system.show": Call({200: ref("Machine")}),
    "api_system.settings": Call({200: made_of(settings=listed(ref("Setting")))}),
    "api_system.doctor": Call({200: made_of(findings=listed(ref("Finding")))}),
    "api_system.support_bundle": Call({200: {"type": "string", "format": "binary"}}, gives="application/gzip"),
    "api_backups.index": Call({200: ref("Backups")}),
    "api_backups.make": Call({202: ref("Task")}),
    "api_system.index": Call({200: made_of(logs=listed(ref("Log")))}),
    "api_system.log": Call({200: made_of(lines=listed(TEXT))}, {"words": TEXT, "limit": LIMIT}),
    "api_router.show": Call({200: made_of(text=TEXT, digest=TEXT, versions=NUMBER)}),
    "api_router.save": Call({200: made_of(version=NUMBER)}, body=(JSON, ref("NewRules"))),
    "api_router.look": Call(
        {200: made_of(warnings=listed(made_of(rule=TEXT, text=TEXT)))}, body=(JSON, ref("ChangedRules"))
    ),
    "api_router.tried": Call({200: ANY}, body=(JSON, ref("ChangedRules"))),
    "api_router.versions": Call({200: made_of(versions=listed(ANY))}),
    "api_router.version": Call({200: ANY}),
    "api_models.index": Call({200: made_of(models=listed(ANY), problems=listed(TEXT), unfinished=listed(NUMBER))}),
    "api_models.import_from": Call({202: ref("Task")}, body=(JSON, ref("ModelAt"))),
    "api_models.show": Call({200: ANY}),
    "api_models.load": Call({202: ANY}, body=(JSON, ref("LoadOrder"))),
    "api_models.unload": Call({202: ANY}),
    "api_policy.show": Call({200: made_of(limits=listed(ref("Limit")), digest=TEXT, problem=TEXT)}),
    "api_policy.change": Call({200: made_of(changes=listed(ref("LimitChange")))}, body=(JSON, ref("NewLimits"))),
    "api_guide.show": Call({200: ref("Guide")}),
    "api_guide.note": Call({200: ref("Guide")}, body=(JSON, ref("GuideMark"))),
    "api_tasks.index": Call({200: made_of(tasks=listed(ref("Task")))}),
    "api_tasks.show": Call({200: both("Task", log=listed(TEXT))}),
    "api_tasks.stop": Call({202: ref("Task")}),
    "api_tasks.again": Call({202: ref("Task")}),
    "api_uploads.index": Call({200: made_of(uploads=listed(UPLOAD), chunk_bytes=NUMBER)}),
    "api_uploads.begin": Call({201: UPLOAD}, body=(JSON, ref("NewUpload"))),
    "api_uploads.show": Call({200: UPLOAD}),
    "api_uploads.remove": Call({200: made_of(id=TEXT, removed=FLAG)}),
    "api_uploads.look": Call({200: ref("Arrived")}),
    "api_uploads.take": Call({204: {}}, body=(MEDIA, {"type": "string", "format": "binary"})),
    "api_uploads.again": Call({202: ref("Task")}, body=(JSON, ref("ModelOrder"))),
    "hooks.take": Call({200: TAKEN, 202: TAKEN}, body=(JSON, {}), signed=True),
    "hooks.take_shared": Call({200: TAKEN_FOR_ALL, 202: TAKEN_FOR_ALL}, body=(JSON, {}), signed=True),
}  # fmt: skip


@blueprint.get("/openapi.json")
def show() -> ResponseReturnValue:
    """This API and the hooks as an OpenAPI document."""
    return jsonify(document(current_app))


def told(app: Flask) -> Iterator[tuple[str, str, Rule]]:
    """Path, method and rule of each route that is in the document."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if rule.rule.startswith(TOLD):
            for method in sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"}):
                yield re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower(), rule


def document(app: Flask) -> Schema:
    """The whole document, in OpenAPI 3.1."""
    paths: dict[str, dict[str, Schema]] = {}
    for path, method, rule in told(app):
        words = app.view_functions[rule.endpoint].__doc__ or ""
        paths.setdefault(path, {})[method] = _operation(rule, method, " ".join(words.split()), CALLS[rule.endpoint])
    return {
        "openapi": "3.1.0",
        "info": {"title": "The appliance's console", "version": __version__},
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "secrets/console.token"}},
        },
    }


def _operation(rule: Rule, method: str, words: str, call: Call) -> Schema:
    named = [
        {"name": name, "in": "path", "required": True, "schema": NUMBER if f"int:{name}" in rule.rule else TEXT}
        for name in re.findall(r"<(?:\w+:)?(\w+)>", rule.rule)
    ]
    asked = [{"name": name, "in": "query", "schema": schema} for name, schema in call.query.items()]
    answers: dict[str, Schema] = {
        str(status): {"description": "what was asked for", **_content(call.gives, schema)}
        for status, schema in call.answers.items()
    }
    answers["default"] = {
        "description": "what is wrong, and what to do about it",
        "content": {JSON: {"schema": ref("Error")}},
    }
    made: Schema = {
        "operationId": rule.endpoint, "summary": words, "parameters": [*named, *asked, *_conditions(method, call)],
        "responses": answers,
    }  # fmt: skip
    if method == "get" and not call.streamed:
        answers["304"] = {"description": "nothing changed since the answer with that ETag"}
        answers["200"]["headers"] = {"ETag": {"schema": TEXT}}
        if "before" in call.query:
            answers["200"]["headers"]["Link"] = {"description": "the next page, rel=next", "schema": TEXT}
    if call.matched:
        answers["412"] = {**answers["default"], "description": "it is no longer as it was read"}
    if call.body:
        media, schema = call.body
        made["requestBody"] = {"required": True, "content": {media: {"schema": schema}}}
    if call.signed:
        made["security"] = []
    return made


def _content(media: str, schema: Schema) -> Schema:
    return {"content": {media: {"schema": schema}}} if schema else {}


def _conditions(method: str, call: Call) -> list[Schema]:
    names = ["If-None-Match"] if method == "get" and not call.streamed else ["If-Match"] if call.matched else []
    return [{"name": name, "in": "header", "description": "ETags", "schema": TEXT} for name in names]


def _schemas() -> dict[str, Schema]:
    """All nouns that are spoken of, by name."""
    _, made = models_json_schema(
        [(noun, "serialization") for noun in NOUNS] + [(noun, "validation") for noun in ASKED],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Schema] = made["$defs"]
    fields = schemas["WorkItem"]["properties"]
    schemas["ItemInShort"] = made_of(**{name: fields[name] for name in fields if name in SHORT})
    schemas["Error"] = made_of(error=made_of(code=TEXT, message=TEXT, hint=TEXT))
    return schemas
