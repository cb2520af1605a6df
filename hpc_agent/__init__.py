"""The agent that runs on a login node; standard library only."""
