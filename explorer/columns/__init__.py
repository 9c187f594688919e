"""Trials as columns: records read from a storage's tables many at a time, without a model of each."""
