"""Diffusion itself: schedules, samplers, the loop, training, the exact predictor, the bound. Read this to learn DDPM.

May import nothing else of this project. No network, no data set, no picture, no file belongs here.
"""
