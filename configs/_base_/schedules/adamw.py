"""AdamW as the transformer papers of this family use it."""

optimizer = dict(type="AdamW", lr=6e-05, betas=(0.9, 0.999), weight_decay=0.01)
optimizer_config = dict()
