"""The stand-alone half of repair that runs inside the sandbox: standard library and pytest only.

`main.py` is started by path and loads this folder as the package `_appliance_runner`, so that none of its module
names can stand in the way of the repository's own. It imports pytest, collects once (hot) or not at all (cold), and
then forks one child per job, so nothing a test does can reach the next one.
"""
