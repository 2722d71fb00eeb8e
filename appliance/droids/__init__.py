"""The agent core: a model edits, the harness judges. Knows no stage; imports the floor only.

::

    task ──material──▶ the code worth showing      ──repo_map──▶ what else there is, ranked
         ──prompt────▶ messages, redacted, within a budget
         ──model─────▶ an answer in plain text     ──answer────▶ edits, or what is wrong with them
         ──edits─────▶ whole new files             ──validate──▶ pass, or the failures for the next turn

`loop.attempt` is the way in, and reads as the documentation.
"""
