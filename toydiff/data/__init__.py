"""What is learned: points, images, and what people bring from files, with every limit on what comes from outside.

May import `networks` and `diffusion`. Everything here has mean 0 and variance 1; what is drawn of it belongs to `draw`.
"""
