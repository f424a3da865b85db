"""Networks, Gram statistics, losses and the tile optimizer. Uses torch and NumPy; knows nothing of picture files.

Pictures are (1, 3, height, width) float32, RGB, sRGB-encoded, in [0, 1].
"""
