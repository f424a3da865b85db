"""Networks, Gram statistics, losses and the tile optimizer. Torch and NumPy; knows no picture files, no tiles.

Pictures are (1, 3, height, width) float32, RGB, sRGB-encoded, in [0, 1].
"""
