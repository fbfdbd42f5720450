"""Every name and number of a run, what each may be, and the way to a link or a file and back.

May import `measures` and what is below. What is trained or drawn with them belongs elsewhere.
"""
