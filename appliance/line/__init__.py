"""The assembly line. One file per stage, none imports another; `runner.py` holds STAGES and is the only writer.

::

    signal  → received    what was said becomes an item
    triage  → triaged     kind, severity, duplicate of an open item, autonomy in force
    plan    → planned     reproduce, localise, name the tests that must pass
    build   → built       search or droid, as the router says
    test    → tested      fresh clone: acceptance passes, nothing that passed is lost
    review  → reviewed    diff policy, and a model's review where one is admitted
    secure  → secured     nothing new for the scanners
    ship    → shipped     onto the server's branch, re-tested when it moved
    monitor → monitored   acceptance again on the server's branch, else revert
    learn   → closed      the outcome as facts

A stage is `run(item, parts) -> Outcome`. It may be run twice (a worker can die at any instant), so effects outside are
idempotent by item id. `needs_human` pauses at any stage; a person's command moves the item on.
"""
