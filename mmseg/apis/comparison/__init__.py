"""Runs side by side, and runs beside published numbers, as reports."""
