"""Networks, Gram statistics, losses and the painter. Torch, torchvision and NumPy; knows no files of pictures, no tiles.

Pictures are (1, 3, height, width) float32, RGB, sRGB-encoded, in [0, 1].
"""
