"""The rules of the policy, a file for each thing that they look at."""
