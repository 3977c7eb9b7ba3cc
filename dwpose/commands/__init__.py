"""One module for each `dwpose` command: `add_parser(subparsers)` and `run(args) -> int`."""
