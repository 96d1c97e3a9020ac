"""How much the checks and the suites detect: faults are injected and counted, correct kernels must pass."""
