"""What pictures look like: scenes, charts, films, their colours; of points and of images.

May import `experiments` and what is below. What a browser does with a scene belongs to the player, a page to `ui`.
"""
