"""TODO"""

if __name__ == "models":
    raise ImportError("import scoreline.models, not models: a worker could not unpickle what came from here")

__all__: list[str] = []
