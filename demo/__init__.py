"""Procedurally drawn street scenes in the raw formats of GTA, SYNTHIA and Cityscapes.

One idea per module, data flows downward:

    camera      pinhole camera, planes in space, clipping
    scene       materials, faces (planar polygons with a label), things that stand on the ground
    materials   textures and colors, and how a domain changes them
    vehicles, people, furniture, frontage    shapes, in meters
    domains     what GTA, SYNTHIA and Cityscapes look like here
    street      cross-section, surface and frontage of one random street
    layout      the traffic and the people in it
    render      scene -> polygons -> label, depth and picture
    photograph  what air, lens and sensor do to the picture
    rendering   all of it for one image number
    writers     file names and formats of the three datasets
    datasets    which images there are
"""
