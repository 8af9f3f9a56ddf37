"""Make depth maps: images -> network -> 8-bit PNG files; `make_maps.py` is where it begins."""
