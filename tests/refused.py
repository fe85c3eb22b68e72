"""What a call to Pub/Sub raises when the service answers with an error."""

import grpc


class Refused(grpc.RpcError, grpc.Call):
    """An answer with this status, by its name."""

    def __init__(self, name, details="as the test wants it"):
        super().__init__(name)
        self._code, self._details = grpc.StatusCode[name], details

    def code(self):
        return self._code

    def details(self):
        return self._details
