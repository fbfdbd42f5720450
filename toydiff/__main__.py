"""The way in from a terminal: python -m toydiff --help"""

from toydiff.cli.main import run

if __name__ == "__main__":
    run()
