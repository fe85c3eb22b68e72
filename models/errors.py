"""What can be wrong with a model, apart from the rows it is given."""


class ModelError(Exception):
    """The model by itself is unfit: unreadable, incompatible, of a kind we cannot run."""


class UntrustedModelError(ModelError):
    """The model could run code when it is loaded, and the operator has not allowed that."""


class ModelOutputError(ModelError):
    """The model answered with something else than one result per row."""


class RowCountError(ModelOutputError):
    """The model, or a function around it, gave another number of rows than it got."""


class ContractError(ValueError):
    """A schema that does not satisfy a model's contract: no row of it could be scored."""
