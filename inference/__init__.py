"""Models behind one door: engines, supervisor, router and gateway. Imports the floor and `models` only."""
