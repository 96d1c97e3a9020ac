"""Conformance suites: what any correct TensorRT does, held against the one that is here."""
