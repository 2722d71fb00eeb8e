"""Messages from outside: who sent them, whether that is so, and what they say. Pure but for `hook_secrets.py`; the
way in is `reading.py`.
"""
