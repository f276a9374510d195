"""The pages of the migration: a file in, what was found in it, the choice, the progress, the report."""
