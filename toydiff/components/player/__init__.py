"""The player: the runs of a scene side by side on canvases, under one clock; and files that are made of them."""
