"""What runs inside vLLM's server, under its own Python: the standard library only, and nothing of ours but this."""
