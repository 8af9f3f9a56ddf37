"""Procedurally drawn street scenes in the raw formats of GTA, SYNTHIA and Cityscapes.

One idea per module, data flows downward:

    camera      pinhole camera, planes in space, clipping
    scene       materials, faces (planar polygons with a label), things that stand on the ground
    materials   textures and colors, and how a domain changes them
    vehicles, people, furniture, frontage    shapes, in meters
    domains     what GTA, SYNTHIA and Cityscapes look like here
    layout      where things stand: one random street
    render      scene -> polygons -> label, depth and picture
    photograph  what light, air, lens and sensor do to the picture
    writers     file names and formats of the three datasets
"""
