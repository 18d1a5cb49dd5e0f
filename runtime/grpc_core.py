"""How gRPC's core reads its sockets in a service's process. To be imported before gRPC: it is told when it is loaded.

By default an event engine does, a pool of threads that hand what has come from one to the next. In Python another
thread waits for completions all the same; without the engine, that one reads the sockets, too, which costs a quarter
less CPU (docs/adr/0020-grpc-without-its-event-engine.md).

These are gRPC's own switches, made for going back to how it was before (`GRPC_EXPERIMENTS`, grpc's
doc/environment_variables.md). Whoever sets the variable has the last word. A release that knows a switch no more says
so in the log, and works; a test looks for that.
"""

import os
import sys
from typing import Final

_OFF: Final = ("event_engine_client", "event_engine_listener", "event_engine_for_all_other_endpoints")

if "grpc" in sys.modules:
    raise ImportError("gRPC is loaded already, and has not heard how to read its sockets")
os.environ.setdefault("GRPC_EXPERIMENTS", ",".join(f"-{name}" for name in _OFF))
