"""The architecture on one page: `picture` says what is in it, `draw` makes the SVG, `make diagram` writes SVG and PNG.

A test holds the picture against the synthesised templates: a box without a resource fails, and so does a kind of
resource without a box.
"""
