"""`python -m headtail`: the command without its script."""

from headtail.cli.main import main

if __name__ == "__main__":
    main()
