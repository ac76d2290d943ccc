"""What each command of the command line does; its options are the arguments, their help the docstring."""
