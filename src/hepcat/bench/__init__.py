"""The load generator and the measurements: traffic that is made up, and what hepcat does with it."""
