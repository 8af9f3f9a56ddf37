"""Make the depth maps of a dataset: images -> network -> 8-bit PNG files that training reads.

`make_maps.py` is where it begins. Maps that exist already take `disparity.py`, not a network.
"""
