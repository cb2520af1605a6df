"""The ports, implemented: brokers, transports, mail, clock and ids."""
