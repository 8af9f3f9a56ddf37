"""Label people's own images with a trained network."""
