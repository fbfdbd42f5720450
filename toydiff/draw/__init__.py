"""How pictures look: scenes, charts and films of points and of images, and their colours.

May import `experiments` and what is below. Code for the browser belongs to `components`, code for a page to `ui`.
"""
