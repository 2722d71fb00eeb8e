"""Messages from outside: who sent them, whether that is so, and what they say. Pure; `reading.py` is the way in."""
