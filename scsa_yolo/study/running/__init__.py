"""A study's runs: on this machine or over Ray, each in a process of its own, with resume."""
