"""Depth files in training: bins, how they were made, what they look like, do they fit."""
