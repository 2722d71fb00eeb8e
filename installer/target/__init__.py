"""Puts a verified release onto a machine, and takes it back: plan, journal, steps, health, receipt."""
