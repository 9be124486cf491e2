"""One image at a time: what a policy says of it, from Python and from the command line."""
