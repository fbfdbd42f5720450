"""The networks that guess the noise: for points (mlp) and for images (unet, dit); registry.py lists them.

May import `diffusion`. How they are trained belongs there, what they are trained on to `data`.
"""
