"""The bundled sample: a small repository with a bug, and the report about it. `repository/` is data, never imported."""
