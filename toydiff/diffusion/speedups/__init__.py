"""What makes Algorithm 1 learn sooner: one idea a file, each with its paper. `recipe.py` says which are used.

Algorithm 1 itself stands in `training.py`, and needs none of them.
"""
