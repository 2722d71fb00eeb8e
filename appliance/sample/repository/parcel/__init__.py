"""Shipping for a small shop."""
