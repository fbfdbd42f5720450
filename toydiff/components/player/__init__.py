"""The player: the runs of a scene side by side on canvases, under one clock; and the files made from them."""
