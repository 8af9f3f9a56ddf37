"""What `tools/new_dataset.py` does: look at folders, choose, write configs."""
