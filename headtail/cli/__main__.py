"""`python -m headtail.cli`, the same as the `headtail` command."""

from headtail.cli.main import main

main()
