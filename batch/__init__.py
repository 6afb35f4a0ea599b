"""Offline scoring: files, tables and data frames of queries, straight from Arrow buffers."""
