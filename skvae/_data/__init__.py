"""Rows: where they come from, in which units networks see them, and how they become batches."""
