"""What runs beside training: the trial API, the watch, the shim. Standard library only; torch is the caller's."""
