"""The report of a run: counted, and written as files that people and programs read."""
