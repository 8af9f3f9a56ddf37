"""UPerNet's head with 256 channels; a child config names the backbone."""

_base_ = ["upernet_mit.py"]

model = dict(decode_head=dict(channels=256))
