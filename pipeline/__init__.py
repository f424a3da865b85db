"""From paths to a painting: settings, pictures, levels, tasks, workers.

Sizes are (height, width) in pixels; pictures are sRGB-encoded.
"""
