"""Past-tense facts about the nouns: what the ledger appends, the console tails and the learning store reads.

An event is `kind` (one of the names below), `subject` (the id of what it is about) and a JSON payload. Every stage's
end is one fact with the same payload shape, so a reader need not know the stages to tell an item's story::

    {stage, from, to, reason, by, wall_seconds, facts}
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from appliance.work import Noun


class Fact(StrEnum):
    """Every kind of event there is."""

    SIGNAL_RECEIVED = "SignalReceived"
    ITEM_OPENED = "ItemOpened"
    SIGNAL_TRIAGED = "SignalTriaged"
    WORK_PLANNED = "WorkPlanned"
    CHANGE_BUILT = "ChangeBuilt"
    CHANGE_TESTED = "ChangeTested"
    CHANGE_REVIEWED = "ChangeReviewed"
    CHANGE_SECURED = "ChangeSecured"
    CHANGE_SHIPPED = "ChangeShipped"
    RELEASE_MONITORED = "ReleaseMonitored"
    OUTCOME_LEARNED = "OutcomeLearned"
    STAGE_ERRED = "StageErred"
    WORKER_LOST = "WorkerLost"
    COMMAND_GIVEN = "CommandGiven"
    COMMAND_APPLIED = "CommandApplied"
    REPOSITORY_ADDED = "RepositoryAdded"
    REPOSITORY_CHANGED = "RepositoryChanged"
    REPOSITORY_REMOVED = "RepositoryRemoved"
    POLICY_PUBLISHED = "PolicyPublished"
    POLICY_PROMOTED = "PolicyPromoted"
    POLICY_ROLLED_BACK = "PolicyRolledBack"
    RULES_SAVED = "RulesSaved"
    LIMITS_CHANGED = "LimitsChanged"
    TASK_BEGUN = "TaskBegun"
    TASK_ENDED = "TaskEnded"
    GUIDE_MARKED = "GuideMarked"
    BOX_STARTED = "BoxStarted"
    BOX_PROVED = "BoxProved"
    SECRETS_BOUND = "SecretsBound"
    BACKUP_MADE = "BackupMade"
    BACKUP_FAILED = "BackupFailed"
    BACKUP_VERIFIED = "BackupVerified"
    BACKUP_RESTORED = "BackupRestored"
    TASKS_FIXED = "TasksFixed"
    REPLAY_STARTED = "ReplayStarted"
    REPLAY_RAN = "ReplayRan"
    REPLAY_ENDED = "ReplayEnded"
    FRICTION_FOUND = "FrictionFound"
    LESSON_PROPOSED = "LessonProposed"
    LESSON_CONFIRMED = "LessonConfirmed"
    LESSON_DECAYED = "LessonDecayed"
    LESSON_RETIRED = "LessonRetired"
    LESSON_EDITED = "LessonEdited"
    LESSON_USED = "LessonUsed"
    PERSON_FORGOTTEN = "PersonForgotten"
    USER_ADDED = "UserAdded"
    USER_CHANGED = "UserChanged"
    SESSION_OPENED = "SessionOpened"
    SESSION_ENDED = "SessionEnded"
    SIGN_IN_REFUSED = "SignInRefused"
    CERTIFICATE_CHANGED = "CertificateChanged"
    TOKEN_CREATED = "TokenCreated"  # noqa: S105 - a fact, no secret
    TOKEN_REVOKED = "TokenRevoked"  # noqa: S105


STAGE_FACTS: Mapping[str, Fact] = {
    "signal": Fact.ITEM_OPENED,
    "triage": Fact.SIGNAL_TRIAGED,
    "plan": Fact.WORK_PLANNED,
    "build": Fact.CHANGE_BUILT,
    "test": Fact.CHANGE_TESTED,
    "review": Fact.CHANGE_REVIEWED,
    "secure": Fact.CHANGE_SECURED,
    "ship": Fact.CHANGE_SHIPPED,
    "monitor": Fact.RELEASE_MONITORED,
    "learn": Fact.OUTCOME_LEARNED,
}
"""Which fact the end of each stage is recorded as (also when the stage decided to stop)."""


class Event(Noun):
    """A fact before it is appended; the ledger adds number, time and hashes."""

    kind: Fact
    subject: str
    payload: Mapping[str, Any] = {}
