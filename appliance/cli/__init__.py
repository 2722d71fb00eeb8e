"""The command line, one file per noun: `appliance NOUN VERB`. `main.py` puts them together."""
