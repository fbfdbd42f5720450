"""The command `toydiff`: films and trainings from a terminal.

May import `server` and what is below. `toydiff app` starts the app; no other command loads anything of it.
"""
