"""Depth files in training: their bins, how they were made, how they look, whether they fit."""
