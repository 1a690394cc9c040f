"""Before a study runs: its plan, arms, order, cost, and everything that can be checked of it."""
