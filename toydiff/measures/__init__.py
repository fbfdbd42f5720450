"""How good samples are: each measure with its floor, the value that perfect samples have.

May import `data` and what is below. A sentence about a value belongs to `lessons`, its chart to `draw`.
"""
