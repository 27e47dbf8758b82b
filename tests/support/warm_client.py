"""Asks the server of warm.py to run a module, with the streams, folder and variables of this process.

    python -I -S warm_client.py SOCKET -m MODULE ARGUMENT ...

Ends as the module does, by the same signal if it was killed by one.
"""

import json
import os
import socket
import sys

server, _, module, *arguments = sys.argv[1:]
asked = {"module": module, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
request = json.dumps(asked).encode()
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(server)
    socket.send_fds(connection, [len(request).to_bytes(8)], [0, 1, 2])
    connection.sendall(request)
    code = int(connection.recv(16) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
