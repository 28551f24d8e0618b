"""Loading a retailer's own data: files or single records of every kind, for routes, CLI and demo.

Good lines are stored, 500 to a transaction; a wrong line is reported and costs the others nothing.
All kinds but stock say how things are to be, so loading a file again changes nothing.

Stock says what happened, so each line of a file of stock movements counts once: a file is known by
its content, and is loaded again as often as its sender likes without doubling a delivery. Lines
that were refused are tried again, and a load that was cut short goes on where it ended. Who means
the same lines a second time gives the file a reference of its own, such as the number of the
delivery note. A file that was edited after a part of it was loaded is another file: correct
refused lines in a file of their own.
"""

from commerce.loading.files import Loaded, load, stock_file_id
from commerce.loading.putting import PERMISSIONS, Act, put, put_one

__all__ = ["PERMISSIONS", "Act", "Loaded", "load", "put", "put_one", "stock_file_id"]
