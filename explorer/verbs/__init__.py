"""The command line's verbs, one function each. What a verb needs is imported inside it, so that `--help` is instant."""
