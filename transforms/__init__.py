"""TODO"""

if __name__ == "transforms":
    raise ImportError("import scoreline.transforms, not transforms: a worker could not unpickle what came from here")

__all__: list[str] = []
