"""Make the depth maps of a data set: images -> network -> 8-bit PNG files that training reads.

    jobs -> pictures (read, resize) -> batches -> device (network, scaling) -> writers (PNG files)

`run.py` puts them together; `from_images.py` is the way through a network, `from_files.py` that of
maps which exist already.
"""
