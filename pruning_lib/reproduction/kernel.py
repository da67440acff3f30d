"""The kernel that notebooks run in: this interpreter, this package, whatever kernels are installed."""

import os
from typing import Any, ClassVar

import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

from pruning_lib.reproduction import CHECKOUT

KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


class SameInterpreter(AsyncKernelManager):
    """Starts the running Python, where an installed `python3` kernel may be another's, and imports the same package."""

    environment: ClassVar[dict[str, str]] = {}  # what is set for the kernel beside what this process has

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.has_trait("transport_encryption") and zmq.has("curve"):  # jupyter_client 8.10 warns without it
            self.transport_encryption = "auto"

    @property
    def kernel_spec(self) -> KernelSpec:
        path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
        values = self.environment | {"PYTHONPATH": path}
        values = {name: value.replace("$", "$$") for name, value in values.items()}  # $NAME is filled in
        return KernelSpec(**get_kernel_dict(), env=values)


def first_line(source: str) -> str:
    """Return the first line of a cell, by which a reader finds it."""
    return source.strip().split("\n")[0].strip()


def error_of(cell: Any) -> str:
    """Return `name: message`, in one line, of the last error among the cell's outputs."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    message = errors[-1].evalue.strip().split("\n")[0]
    return f"{errors[-1].ename}: {message}" if message else errors[-1].ename
