"""From paths to a painting: settings, pictures, levels, tasks, workers. The Python API is `muralist.pipeline.render`.

Sizes are (height, width) in pixels; pictures are sRGB-encoded.
"""
