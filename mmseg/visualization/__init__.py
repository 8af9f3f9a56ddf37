"""Pictures of labels, of training iterations and of whole runs."""
