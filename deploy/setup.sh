#!/bin/sh
# Sets the project up where it is not: see deploy/setup/__init__.py. Needs Python 3.11 and nothing else.
cd "$(dirname "$0")/.." || exit 1
for python in "${PYTHON:-python3.11}" python3; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        exec "$python" -m deploy.setup "$@"
    fi
done
echo "Python 3.11 or newer is needed, as python3.11 or python3 (Debian 12: apt-get install python3)." >&2
exit 1
