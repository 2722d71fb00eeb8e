"""Replay: a fixed set of tasks for each repository, tried by models or by search, judged by what they were not shown.

`tasks` are past items, replayed from the commit they were planned on (`past`), and slips seeded in the repository's own
code (`mutants`, by the rules in `slips`). `trial` lets one contender try one task, in the real sandbox and through the
real gateway, and judges it; `run` goes through them all and keeps each result in the ledger as it ends; `scores` says
what the results show, and when they are too few to show anything. Nothing is shipped and nothing is pushed.
"""
