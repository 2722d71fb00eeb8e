"""Repair by search, without a model: localise, propose edits, validate with the tests, choose by behaviour.

::

    problem → spectrum (who runs what) → localise → templates (edits) → rank → validate → choose → ship, ask or none

`search.py` is the loop, `runner/` is what runs inside the sandbox, `templates/` the classes of edits.
"""
