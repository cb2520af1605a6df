"""The five verbs over sets of rows, and the only transaction boundary."""
