"""Geometry of tiles: where they lie, how they blend, how a canvas is resampled. NumPy only.

Order is always (row, col) and (height, width); spans are half-open; one unit is one pixel of the canvas.
"""
