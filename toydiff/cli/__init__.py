"""The command `toydiff`: films and trainings from a terminal.

May import `server` and what is below. Nothing of the app is needed or loaded here.
"""
