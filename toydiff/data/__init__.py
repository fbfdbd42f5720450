"""The data that networks learn: points, images and users' files, with every limit on what comes from outside.

May import `networks` and `diffusion`. All data here has mean 0 and variance 1. Pictures of it belong to `draw`.
"""
