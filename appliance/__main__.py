"""`appliance`: parse, choose parts, start."""
