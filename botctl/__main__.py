"""``python -m botctl``: the same as the ``botctl`` script."""

from botctl.cli.main import main

if __name__ == "__main__":
    main()
