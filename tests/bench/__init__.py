"""Benchmarks: what the server reaches, beside the raw limit of the same database in the same run.

The machine may be shared and slow: ratios count, absolute times do not.
"""
