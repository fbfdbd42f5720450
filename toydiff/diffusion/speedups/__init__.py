"""What makes Algorithm 1 learn sooner, one idea a file. `recipe.py` and, for stable targets, `targets.py` say which are
used.

Algorithm 1 itself stands in `training.py`, and needs none of them.
"""
