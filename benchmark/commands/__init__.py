"""Groups of subcommands that the command line is put together from."""
