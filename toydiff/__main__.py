"""The way in from a terminal: python -m toydiff --help"""

from toydiff.cli.main import main
from toydiff.cli.train_images import leave

if __name__ == "__main__":
    leave(main())
