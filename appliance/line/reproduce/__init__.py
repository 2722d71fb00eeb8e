"""Reproduction tests from a bug report in plain words: a part that the plan stage uses.

::

    report ──blocks──▶ text, code, sessions, tables, tracebacks
           ──reader──▶ claims: a call, what it should do, what it does          (as written)
           ──index───▶ the call's names found in the checkout, by syntax alone  (or a reason why not)
           ──values──▶ what the values mean, both sides weighed together
           ──writer──▶ a test file in the repository's own folder and style

A report is a stranger's text. Nothing of it is ever run or evaluated here beyond literals, and only expressions made
of the repository's own names, literals, calls and attributes get into a test (see `expressions`).
"""

from appliance.line.reproduce.claims import Example, Reproduction
from appliance.line.reproduce.derive import reproduce
from appliance.line.reproduce.matching import check_reason, match_failures

__all__ = ["Example", "Reproduction", "check_reason", "match_failures", "reproduce"]
