"""TODO"""

if __name__ == "pipelines":
    raise ImportError("import scoreline.pipelines, not pipelines: a worker could not unpickle what came from here")

__all__: list[str] = []
