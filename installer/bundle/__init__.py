"""Builds what is carried into a closed network: `make bundle KEYS=DIR`, the same bytes for the same commit."""
