"""Known cases: real models, known limits of TensorRT, claims with their sources."""
