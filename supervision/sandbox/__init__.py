"""A make-believe HPC centre, for demonstrations, tests and dry runs."""
