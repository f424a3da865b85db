"""Networks, Gram statistics, losses and the painter. Torch and NumPy; knows no picture files, no tiles.

Pictures are (1, 3, height, width) float32, RGB, sRGB-encoded, in [0, 1].
"""
