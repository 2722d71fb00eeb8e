"""Backups: what a home holds, sealed to keys that are not on the box, and brought back whole or not at all.

A backup is one clear manifest that names sealed parts, and one of these parts, the inventory, tells what the others
are. Parts are named by content, so that what is there already is not written again. The flow::

    creating.create    ledger snapshot → files → repositories → inventory → manifest (last, one rename) → prune
    verifying.verify   every part's hash; with the private key a test-restore in a scratch folder
    restoring.restore  parts → files → repositories → ledger, migrated; a home that is half restored does not start
"""
