"""Measuring code: speed, memory and quality, on its own and beside other libraries."""
