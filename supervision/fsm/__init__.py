"""The state machine of a supervision: states, table, engine, actions, diagram."""
