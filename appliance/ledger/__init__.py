"""Durable truth: what happened (events, hash-chained) and what is (items, signals, repositories, commands).

`store.py` has the verbs, `schema.py` the tables, `chain.py` the hashes, `lease.py` the rules of claiming, `audit.py`
the proof that nothing was altered. Everything that changes state appends its event in the same transaction.
"""

from appliance.ledger.store import Claim, Command, Ledger, open_ledger

__all__ = ["Claim", "Command", "Ledger", "open_ledger"]
