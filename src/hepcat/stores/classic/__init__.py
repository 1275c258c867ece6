"""The classic tables of a capture database: their columns, and the rows that a batch becomes."""
