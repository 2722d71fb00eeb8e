"""Sandboxes where droids and tests run: tier A (bubblewrap), tier B (Landlock), else nothing is run."""
