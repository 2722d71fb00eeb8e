"""The server's side of a change, one file per forge (ports.Forge)."""
