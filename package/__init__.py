"""scoreline: run a trained model over live or stored data on Apache Beam."""

__all__ = ["__version__"]

__version__ = "0.1.0"
