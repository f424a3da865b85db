"""Geometry of tiles: their positions, how they are blended, and how a canvas is resampled. NumPy only.

Order is always (row, col) and (height, width); spans are half-open; one unit is one pixel of the canvas.
"""
