"""Sets a checkout up and fills its wheelhouse, with nothing but the standard library."""
