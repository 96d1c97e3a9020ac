"""What one TensorRT gave for one case, kept to be held against what another one gives."""
